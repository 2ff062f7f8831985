"""The speech tokenizer: Whisper log-mel at 100 Hz to codes at 25 Hz.

`SpeechEncoder` ships as speech_tokenizer_v2.onnx. `TokenDecoder` exists in training alone: it must
restore the mel given the speaker, and name the phoneme of every frame, so that codes keep what is
said and how, and leave who says it to the flow.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TokenizerConfig
from training.fsq import DIGITS, codes_of, quantise


class WindowBlock(nn.Module):
    """LayerNorm, a convolution that widens, GELU, a projection back, residual.

    The convolution is one matrix product over three neighbouring frames: on a CPU with matrix
    units that trains several times faster than a depthwise convolution of the same reach.
    """

    WINDOW = 3

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(self.WINDOW * width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x (rows, frames, width) -> same."""
        padded = F.pad(self.norm(x), (0, 0, 1, 1))
        window = torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)
        return x + self.contract(F.gelu(self.expand(window)))  # type: ignore[no-any-return]


def _blocks(count: int, width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(*(WindowBlock(width, hidden) for _ in range(count)))


class SpeechEncoder(nn.Module):
    """(rows, 128, T) log-mel -> (rows, ceil(ceil(T / 2) / 2), 8) values before quantisation."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.width
        self.input = nn.Conv1d(config.mel, width, 3, stride=2, padding=1)
        self.at_frames = _blocks(config.frame_blocks, width, config.hidden)
        self.down = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.at_tokens = _blocks(config.token_blocks, width, config.hidden)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, DIGITS)

    def forward(self, log_mel: Tensor) -> Tensor:
        x = self.at_frames(F.gelu(self.input(log_mel)).mT)
        x = self.at_tokens(self.down(x.mT).mT)
        return self.output(self.norm(x))  # type: ignore[no-any-return]

    def codes(self, log_mel: Tensor) -> Tensor:
        """(rows, 128, T) -> (rows, tokens) codes 0 .. 6560."""
        return codes_of(quantise(self(log_mel).float()))


class TokenDecoder(nn.Module):
    """Digits and speaker to mel and phoneme scores at 50 Hz; never shipped."""

    def __init__(self, config: TokenizerConfig, speakers: int, phonemes: int) -> None:
        super().__init__()
        width = config.decoder_width
        self.input = nn.Linear(DIGITS, width)
        self.speaker = nn.Embedding(speakers, width)
        hidden = config.hidden
        self.shared = _blocks(2, width, hidden)
        self.phonemes = nn.Linear(width, 2 * phonemes)
        self.at_tokens = _blocks(2, width, hidden)
        self.up = nn.Linear(width, 2 * width)
        self.at_frames = _blocks(3, width, hidden)
        self.mel = nn.Linear(width, 80)

    def forward(self, digits: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """digits (rows, n, 8), speaker (rows,) -> mel (rows, 2n, 80), scores (rows, 2n, phonemes).

        The phoneme scores do not see the speaker.
        """
        rows, tokens, _ = digits.shape
        x = self.shared(self.input(digits))
        scores = self.phonemes(x).view(rows, 2 * tokens, -1)
        x = self.at_tokens(x + self.speaker(speaker)[:, None])
        x = self.at_frames(self.up(x).view(rows, 2 * tokens, -1))
        return self.mel(x), scores
