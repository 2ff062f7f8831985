"""The decoder of the language model: a GPT-2 that continues a prompt of vectors with codes of
speech."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.gpt_cache import KeyValues
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.heads import head_width
from tritone.llm.torch.decoder import Attend

_EXPANSION = 4  # of the feed-forward layers


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, _EXPANSION * width)
        self.contract = nn.Linear(_EXPANSION * width, width)

    def forward(self, x: Tensor, layer: int, attend: Attend) -> Tensor:
        projected = self.query_key_value(self.attention_norm(x))
        projected = projected.view(*x.shape[:2], 3, self.heads, -1)
        attended = attend(layer, *projected.permute(2, 0, 3, 1, 4))
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        y = F.gelu(self.expand(self.feed_forward_norm(x)), approximate="tanh")
        return x + self.contract(y)  # type: ignore[no-any-return]


class Gpt(nn.Module):
    """Two norms end it, each with weights of its own; what the second gives goes to the head, and
    to the flow as the latent of the code that is drawn next."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        width = config.width
        head_width(width, config.heads)
        self.config = config
        self.code_embedding = nn.Parameter(torch.zeros(config.codes + 2, width))
        self.code_position = nn.Parameter(torch.zeros(config.code_positions, width))
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.codes + 2)

    def cache(self, rows: int, capacity: int) -> KeyValues:
        """An empty one for `capacity` positions of each row."""
        heads = self.config.heads
        like = self.code_embedding.new_empty(head_width(self.config.width, heads))
        return KeyValues(self.config.layers, rows, heads, capacity, like)

    def code_rows(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Codes and their positions, of one shape -> (..., width)."""
        return self.code_embedding[codes] + self.code_position[positions]

    def opened(self, prompt: Tensor) -> Tensor:
        """(1, n, width) of `Prompter` -> (1, n + 1, width), with the start of speech."""
        device = self.code_embedding.device
        start, place = (torch.tensor([[i]], device=device) for i in (self.config.start, 0))
        return torch.cat([prompt, self.code_rows(start, place)], dim=1)

    def forward(self, x: Tensor, cache: KeyValues) -> Tensor:
        """(rows, n, width) inputs of the positions after those in a cache -> (rows, n, width)
        hidden states after both norms. The cache has the positions then."""
        count, visible = x.shape[1], None
        if count > 1:
            every = torch.ones(count, cache.length + count, dtype=torch.bool, device=x.device)
            visible = every.tril(cache.length)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            read = cache.write(layer, key, value)
            return F.scaled_dot_product_attention(query, read.key, read.value, attn_mask=visible)

        hidden = self.hidden(x, attend)
        cache.advance(count)
        return hidden

    def hidden(self, x: Tensor, attend: Attend) -> Tensor:
        """As `forward`, with whatever keeps keys and values."""
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, attend)
        return self.final_norm(self.norm(x))  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., width) -> (..., codes + 2): codes, start, stop."""
        return self.head(hidden)  # type: ignore[no-any-return]
