"""Stage 'lm' of CosyVoice3: the language model of a CosyVoice2 goes on in CosyVoice3's layout.

The rows of a group of codes begin as the mean of the codes in it, and of the feed-forward units the
heaviest are kept. There are 200 stop rows and no bias of the head: it is a share of each row along
one direction, which the states learn to keep. Every text follows the system's words.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn

from training.codebook import CodeBook
from training.config import VoiceConfig
from training.dataset import Track
from training.factored import code_features
from training.fsq import codes_of
from training.language_model import END as OLD_END
from training.language_model import FILL as OLD_FILL
from training.language_model import SpeechLanguageModel
from training.loop import START, Training, trained_state
from training.sequences import Order
from training.start import language_model, unfold
from training.text_tokens import TextTokens
from training.train_lm import LanguageModelTraining
from training.train_tokenizer import BOOK_UTTERANCES, clean_values, load_encoder
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice3.config import TextConfig
from tritone.families.cosyvoice3.merge_llm import END, SOS, STOP_IDS, TASK
from tritone.families.cosyvoice3.released_tokenizer import ADDED
from tritone.families.cosyvoice3.rules import FILL
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer, is_control

UNUSED = -12.0  # logit that the other stop rows begin with


class CosyVoice3LanguageModel(SpeechLanguageModel):
    """head_bias: how far each row of the head goes along `bias_along`."""

    def __init__(self, voice: VoiceConfig, spelling: Tensor, book: CodeBook) -> None:
        features = code_features(STOP_IDS, book.nearest)
        super().__init__(voice.language_model, spelling, features)
        self.bias_along = nn.Parameter(torch.zeros(voice.language_model.hidden_size))

    def head_rows(self) -> Tensor:
        rows: Tensor = self.head() + self.head_bias[:, None] * self.bias_along
        return rows

    def _project(self, x: Tensor) -> Tensor:
        states = self.norm(x)
        return F.linear(states, self.head_rows().to(states.dtype))

    @torch.no_grad()
    def upstream_state(self) -> dict[str, Tensor]:
        state = super().upstream_state()
        for name in ("llm_embedding.weight", "llm_decoder.bias"):
            del state[name]
        speech = state["speech_embedding.weight"].clone()
        codes = len(speech) - STOP_IDS
        speech[codes:] = 0
        speech[[codes + SOS, codes + TASK]] = self.marks
        return state | {"speech_embedding.weight": speech, "llm_decoder.weight": self.head_rows()}


class CosyVoice3Training(LanguageModelTraining):
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self._voice = voice
        super().__init__(work, voice)

    def order(self, work: Path) -> Order:
        codes = len(CodeBook.read(work).centres)
        return Order(lead_ids(work), codes + END, codes + FILL)

    def network(self, work: Path, spelling: Tensor) -> SpeechLanguageModel:
        return CosyVoice3LanguageModel(self._voice, spelling, CodeBook.read(work))


def lead_ids(work: Path) -> tuple[int, ...]:
    """What the front end puts before every text; the phoneme tokenizer knows no letters of it."""
    tokenizer, words = TextTokenizer(work / TOKENIZER_NAME), TextConfig()
    return (*tokenizer.encode(words.system), tokenizer.control_id(words.instruct_end))


def add_tokens(path: Path) -> None:
    """Give a tokenizer.json the tokens that CosyVoice3 adds, none of which it was trained on."""
    tokenizer = Tokenizer.from_file(str(path))
    for token in ADDED:
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=is_control(token))])
    with written_whole(path) as partial:
        tokenizer.save(str(partial), pretty=False)


@torch.no_grad()
def first_model(work: Path, voice: VoiceConfig) -> CosyVoice3LanguageModel:
    """The language model of `voice.start` in CosyVoice3's layout."""
    assert voice.start is not None
    config = CosyVoice2Config.read(voice.start)
    sizes = {"intermediate_size": config.llm.intermediate_size}
    own = voice.language_model.model_copy(update=sizes)
    spelling = TextTokens(voice.start / TOKENIZER_NAME).spelling()
    old = language_model(
        voice.model_copy(update={"language_model": own}), spelling, voice.start, config
    )
    book = CodeBook.read(work)
    model = CosyVoice3LanguageModel(voice, TextTokens(work / TOKENIZER_NAME).spelling(), book)
    shares = group_shares(work, voice, book)
    codes = len(shares)
    for table, known in ((model.speech, old.speech()), (model.head, old.head())):
        stops = torch.zeros(STOP_IDS, known.shape[1])
        stops[[END, FILL]] = known[[OLD_END, OLD_FILL]]
        unfold(table, torch.cat([shares @ known[:OLD_END], stops]))
    model.text.factors.copy_(old.text.factors)
    model.text.residual[: len(spelling)] = old.text.residual
    model.head_bias.fill_(UNUSED)
    spread = (shares > 0).sum(dim=1).clamp(min=1).log()
    model.head_bias[:codes] = shares @ old.head_bias[:OLD_END] + spread
    model.head_bias[[codes + END, codes + FILL]] = old.head_bias[[OLD_END, OLD_FILL]]
    model.marks.copy_(old.marks)
    model.norm.load_state_dict(old.norm.state_dict())
    for layer, before in zip(model.layers, old.layers, strict=True):
        layer.load_state_dict(_thinned(before.state_dict(), voice.language_model.intermediate_size))
    return model


def group_shares(work: Path, voice: VoiceConfig, book: CodeBook) -> Tensor:
    """(groups, 6561) how much of each group is which code, in the first utterances."""
    encoder = load_encoder(work, voice.tokenizer)
    track = Track(work, next(iter(voice.speakers)))
    spans = zip(track.starts[:BOOK_UTTERANCES], track.starts[1:], strict=False)
    values = torch.cat([clean_values(encoder, track, a, b) for a, b in spans])
    counts = torch.zeros(len(book.centres), OLD_END)
    counts.index_put_((book.assign(values), codes_of(values)), torch.ones(()), accumulate=True)
    (empty,) = torch.nonzero(counts.sum(dim=1) == 0, as_tuple=True)
    counts[empty, book.nearest[empty]] = 1.0
    return counts / counts.sum(dim=1, keepdim=True)


def _thinned(layer: dict[str, Tensor], units: int) -> dict[str, Tensor]:
    """A decoder layer with the feed-forward units whose weights are the largest."""
    into, out = ("gate_proj.weight", "up_proj.weight"), "down_proj.weight"
    weight = layer[out].norm(dim=0) * layer[into[0]].norm(dim=1) * layer[into[1]].norm(dim=1)
    kept = weight.topk(units).indices.sort().values
    return layer | {name: layer[name][kept] for name in into} | {out: layer[out][:, kept]}


def train(work: Path, voice: VoiceConfig) -> None:
    if TextTokens(work / TOKENIZER_NAME).lacks(ADDED):
        add_tokens(work / TOKENIZER_NAME)
    if not (work / "lm" / START).is_file():
        (work / "lm").mkdir(exist_ok=True)
        torch.save(first_model(work, voice).state_dict(), work / "lm" / START)
    run = CosyVoice3Training(work, voice)
    Training(work / "lm", run.model, voice.language_model.loop).run(run.losses, run.validate)


def load_language_model(work: Path, voice: VoiceConfig) -> CosyVoice3LanguageModel:
    spelling = TextTokens(work / TOKENIZER_NAME).spelling()
    model = CosyVoice3LanguageModel(voice, spelling, CodeBook.read(work))
    model.load_state_dict(trained_state(work / "lm"))
    return model.eval()
