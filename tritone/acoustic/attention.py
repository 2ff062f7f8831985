"""Attention over spans of cached keys; masks; the encoder's relative-position attention."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.linear import PackableLinear, is_traced

_TOGETHER = 128  # queries: scores of all would take memory with the square of the length


Way = Callable[[Tensor, Sequence[Span]], Tensor]
"""Softmax attention of (rows, heads, n, head_dim) queries over the keys of all spans, on a CPU."""

_ways: dict[torch.dtype, Way] = {}


def use(dtype: torch.dtype, way: Way) -> None:
    """Have queries of this precision on a CPU go this way, where there is no bias."""
    _ways[dtype] = way


@contextmanager
def using(dtype: torch.dtype, way: Way) -> Iterator[None]:
    """Have them go this way in the block."""
    before = _ways.get(dtype, fused_by_span)
    use(dtype, way)
    try:
        yield
    finally:
        use(dtype, before)


def attend(query: Tensor, spans: Sequence[Span], bias: Sequence[Tensor | None]) -> Tensor:
    """Softmax attention of (rows, heads, n, head_dim) queries over the keys of all spans.

    bias: one per span, added to the scaled scores (boolean: False forbids), or None. Spans are
    joined by their scores and not by their keys, so that a shared prefix is never copied. The fused
    kernel serves one span, and on a CPU several without bias; in training it is avoided, since its
    backward pass on a CPU in bf16 is five times slower than the plain products; an exported graph
    has the plain products, which runtimes know how to fuse.
    """
    if _is_chosen(query) and all(b is None for b in bias):
        return _way(query)(query, spans)
    if len(spans) == 1 and not _is_plain(query):
        span = spans[0]
        key, value = span.key.to(query.dtype), span.value.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias[0])
    return _by_scores(query, spans, bias)


def attend_chunks(
    query: Tensor, key: Tensor, value: Tensor, store: KeyValueStore, layer: int
) -> Tensor:
    """Attention of neighbouring chunks, which are written to a store meanwhile.

    query, key, value (rows, heads, n, head_dim). Equal to `attend` of one chunk after the other;
    the fused kernel reads once for all what all of them see, and multiplies more at a time.
    """
    common, each = store.write_chunks(layer, key, value)
    queries = torch.split(query, store.chunk, dim=2)
    if not _is_chosen(query) or _way(query) is not fused_by_span:
        spans = ([*common, *own] for own in each)
        outputs = [attend(q, s, [None] * len(s)) for q, s in zip(queries, spans, strict=True)]
        return torch.cat(outputs, dim=2)
    parts = [_attend_each(q, own) for q, own in zip(queries, each, strict=True)]
    own = Attended(*(torch.cat(part, dim=2) for part in zip(*parts, strict=True)))
    return _merged(_attend_each(query, common), own).output if common else own.output


def fused_by_span(query: Tensor, spans: Sequence[Span]) -> Tensor:
    """torch's fused kernel on each span: a `Way`."""
    return _attend_each(query, spans).output


def joined(query: Tensor, spans: Sequence[Span]) -> Tensor:
    """torch's fused kernel on all keys side by side, which are copied: a `Way`."""
    keys, values = (
        torch.cat([part.to(query.dtype) for part in parts], dim=2)
        for parts in ([s.key for s in spans], [s.value for s in spans])
    )
    return _attend_each(query, [Span(keys, values)]).output


def plain(query: Tensor, spans: Sequence[Span]) -> Tensor:
    """Products and a softmax, the scores in the precision of the queries: a `Way`."""
    return _by_scores(query, spans, [None] * len(spans))


def _by_scores(query: Tensor, spans: Sequence[Span], bias: Sequence[Tensor | None]) -> Tensor:
    query = query / math.sqrt(query.shape[-1])
    scores = [query @ span.key.to(query.dtype).transpose(-2, -1) for span in spans]
    scores = [_biased(s, b) for s, b in zip(scores, bias, strict=True)]
    joined = torch.cat(scores, dim=-1)
    # torch's own kernel computes in float32, an exported graph has to say so
    inner = torch.float32 if is_traced() else None
    weights = torch.softmax(joined, dim=-1, dtype=inner).to(joined.dtype)
    if len(spans) == 1:
        return weights @ spans[0].value.to(query.dtype)
    parts = torch.split(weights, [span.key.shape[2] for span in spans], dim=-1)
    outputs = [w @ s.value.to(query.dtype) for w, s in zip(parts, spans, strict=True)]
    return torch.stack(outputs).sum(0)


class Attended(NamedTuple):
    """Attention over some of the keys: (rows, heads, n, head_dim), and for each query the logarithm
    of the sum of its exponentials (rows, heads, n)."""

    output: Tensor
    log_sum: Tensor


def _is_plain(query: Tensor) -> bool:
    return query.requires_grad or is_traced()


def _is_chosen(query: Tensor) -> bool:
    return query.device.type == "cpu" and not _is_plain(query)


def _way(query: Tensor) -> Way:
    return _ways.get(query.dtype, fused_by_span)


def _attend_each(query: Tensor, spans: Sequence[Span]) -> Attended:
    """The fused kernel on each span."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    parts = [Attended(*fused(query, s.key.to(query.dtype), s.value.to(query.dtype))) for s in spans]
    return reduce(_merged, parts)


def _merged(one: Attended, other: Attended) -> Attended:
    """Weighted by their sums of exponentials."""
    share = torch.sigmoid(other.log_sum - one.log_sum)[..., None].to(one.output.dtype)
    output = torch.lerp(one.output, other.output, share)
    return Attended(output, torch.logaddexp(one.log_sum, other.log_sum))


def _biased(scores: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return scores
    return scores.masked_fill(~bias, -math.inf) if bias.dtype == torch.bool else scores + bias


def chunk_mask(length: int, chunk: int, *, left_chunks: int = 0, prefix: int = 0) -> Tensor:
    """Which keys each query may see in one pass over everything, (length, length) boolean.

    A query sees its own chunk whole and all earlier frames; with `left_chunks` only that many
    earlier chunks and the first `prefix` frames. Positions count from the first prompt token.
    """
    position = torch.arange(length)
    query_chunk, key_chunk = position[:, None] // chunk, position[None, :] // chunk
    visible = key_chunk <= query_chunk
    if left_chunks:
        visible &= (key_chunk >= query_chunk - left_chunks) | (position[None, :] < prefix)
    return visible


def sinusoid(farthest: int, nearest: int, width: int) -> Tensor:
    """Position encoding of the signed distances farthest, farthest - 1, .. nearest, (n, width)."""
    distance = torch.arange(farthest, nearest - 1, -1, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2.0) * -(math.log(10000.0) / width))
    angle = distance * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class RelativeAttention(nn.Module):
    """Self-attention with relative positions as Transformer-XL and ESPnet define them.

    score(i, j) = ((q_i + u) . k_j + (q_i + v) . p(i - j)) / sqrt(d_k); p(r) is a linear map of the
    sinusoid of the signed distance r, positive where the key lies in the past. p depends on the
    weights alone, so it is computed once for each distance that has come up and kept.
    """

    _distances: Tensor  # (heads, 2 * reach + 1, d_k), from distance +reach down to -reach

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = PackableLinear(width, width)
        self.key = PackableLinear(width, width)
        self.value = PackableLinear(width, width)
        self.output = PackableLinear(width, width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))
        self.position_bias = nn.Parameter(torch.zeros(heads, width // heads))
        self.register_buffer("_distances", torch.empty(heads, 0, width // heads), persistent=False)

    def forward(
        self,
        x: Tensor,
        store: KeyValueStore | None,
        layer: int,
        mask: Tensor | None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """x (rows, n, width) -> same. With a store, x continues what the store holds.

        mask: boolean, broadcasts to (rows, heads, n, keys). positions: the `sinusoid` of distances
        keys - 1 down to -n where all keys are one span, given in graphs whose lengths are symbols.
        """
        query, key, value = (self._split(f(x)) for f in (self.query, self.key, self.value))
        # Keys come in many lengths: oneDNN would prepare a kernel for each in bfloat16, which takes
        # longer than these few products in float32.
        if query.device.type == "cpu" and not _is_plain(query):
            query = query.float()
        start = 0 if store is None else store.length
        spans = [Span(key, value)] if store is None else store.write(layer, key, value)
        few = query.shape[2] if positions is not None or _is_plain(query) else _TOGETHER
        attended = torch.cat(
            [
                self._attend(
                    query[:, :, begin : begin + few],
                    start + begin,
                    spans,
                    None if mask is None else mask[..., begin : begin + few, :],
                    positions,
                )
                for begin in range(0, query.shape[2], few)
            ],
            dim=2,
        )
        return self.output(attended.transpose(1, 2).flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def _attend(
        self,
        query: Tensor,
        start: int,
        spans: Sequence[Span],
        mask: Tensor | None,
        positions: Tensor | None,
    ) -> Tensor:
        """Of queries at start.., (rows, heads, n, d_k)."""
        by_position = query + self.position_bias[:, None]
        bias = [self._position_scores(by_position, start, span, positions) for span in spans]
        if mask is not None:
            bias = [b.masked_fill(~mask, float("-inf")) for b in bias]
        return attend(query + self.content_bias[:, None], spans, bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _position_scores(
        self, query: Tensor, start: int, span: Span, positions: Tensor | None
    ) -> Tensor:
        """(q_i + v) . p(i - j) / sqrt(d_k) for queries at start.. and the span's keys."""
        queries, keys = query.shape[2], span.key.shape[2]
        if positions is None:
            farthest = start + queries - 1 - span.start
            encoded = self._between(farthest, start - span.start - keys).to(query.dtype)
        else:
            encoded = self._project(positions)
        by_distance = query @ encoded.transpose(-2, -1) / math.sqrt(query.shape[-1])
        # Column c holds distance farthest - c, so row i wants the columns from queries - 1 - i on:
        # one column less a row, which is a view of the same memory. The last column is spare, so
        # that this holds for a single query too.
        width = by_distance.shape[-1] - 1
        flat = by_distance.flatten(-2)[..., queries - 1 : queries - 1 + queries * width]
        return flat.view(*flat.shape[:-1], queries, width)[..., :keys]

    def _between(self, farthest: int, nearest: int) -> Tensor:
        """p(farthest) .. p(nearest), (heads, farthest - nearest + 1, d_k)."""
        reach = max(abs(farthest), abs(nearest))
        if self.training:  # weights change from step to step, so nothing is kept
            return self._project(sinusoid(farthest, nearest, self.position.in_features))
        table = self._distances
        known = (table.shape[1] - 1) // 2
        if table.shape[1] == 0 or known < reach:
            known = max(reach, 2 * known, 64)
            table = self._project(sinusoid(known, -known, self.position.in_features))
            self._distances = table
        return table[:, known - farthest : known - nearest + 1]

    def _project(self, positions: Tensor) -> Tensor:
        """(n, width) sinusoids -> p, (heads, n, d_k)."""
        width = self.position.out_features
        projected: Tensor = self.position(positions.to(self.position.weight))
        return projected.view(-1, self.heads, width // self.heads).transpose(0, 1).contiguous()
