"""The semantic codec: features of speech to codes of one code book, and back to embeddings.

The encoder is a Vocos backbone of ConvNeXt blocks (MaskGCT, arXiv:2409.00750); codes are chosen by
cosine (factorised codes of ViT-VQGAN, arXiv:2110.04627). Everything is (rows, frames, channels).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.reference_config import CodecConfig

_KERNEL, _EPSILON = 7, 1e-6


class Block(nn.Module):
    """ConvNeXt: a depthwise convolution, then an inverted bottleneck scaled by `scale`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x.transpose(-2, -1)).transpose(-2, -1))
        return x + self.scale * self.contract(F.gelu(self.expand(y)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.backbone
        self.input = nn.Conv1d(config.width, width, _KERNEL, padding=_KERNEL // 2)
        self.input_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.blocks = nn.ModuleList(Block(width, config.hidden) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.output = nn.Linear(width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_norm(self.input(x.transpose(-2, -1)).transpose(-2, -1))
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))  # type: ignore[no-any-return]


class CodeBook(nn.Module):
    """rows: (codes, code_width)."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.width, config.code_width)
        self.rows = nn.Parameter(torch.zeros(config.codes, config.code_width))
        self.expand = nn.Linear(config.code_width, config.width)

    def codes(self, x: Tensor) -> Tensor:
        """(rows, n, width) -> (rows, n) code of the most similar direction; ties: the lowest."""
        return (self.project(x) @ F.normalize(self.rows, dim=-1).transpose(-2, -1)).argmax(-1)  # type: ignore[no-any-return]

    def embed(self, codes: Tensor) -> Tensor:
        """(rows, n) codes -> (rows, n, width)."""
        return self.expand(self.rows[codes])  # type: ignore[no-any-return]


class SemanticCodec(nn.Module):
    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.code_book = CodeBook(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised features (rows, n, width) -> (rows, n) codes, and their embeddings (rows, n,
        width)."""
        codes = self.codes(x)
        return codes, self.code_book.embed(codes)

    def codes(self, x: Tensor) -> Tensor:
        """The codes alone."""
        return self.code_book.codes(self.encoder(x))
