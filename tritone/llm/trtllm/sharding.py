"""Names and shapes of a TensorRT-LLM Qwen2 checkpoint, and which part of the source a rank holds.

Every tensor of a rank is a stack of blocks of source tensors. Facts: TensorRT-LLM 0.20,
tensorrt_llm/models/qwen/{convert,model}.py and docs/source/architecture/checkpoint.md. Its linear
weights are (out, in), as those of Hugging Face.
"""

from dataclasses import dataclass

from tritone.errors import InvalidRequest
from tritone.llm.checkpoint import EMBEDDING, FINAL_NORM, layer_name
from tritone.llm.qwen2 import Qwen2Config


@dataclass(frozen=True)
class Block:
    """Rows, and columns unless it is a vector, of the source tensor `source`."""

    source: str
    rows: range
    columns: range | None = None


@dataclass(frozen=True)
class RankTensor:
    """One tensor of a rank: its blocks one below the other, then zero rows up to `shape`."""

    name: str
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def padding_rows(self) -> int:
        return self.shape[0] - sum(len(block.rows) for block in self.blocks)


def check_tp_size(config: Qwen2Config, tp_size: int) -> None:
    """Raise InvalidRequest, naming the number, if `tp_size` ranks cannot share this model.

    Key and value heads are repeated where there are fewer of them than ranks.
    """
    if problem := _misfit(config, tp_size):
        fitting = [n for n in range(1, config.num_attention_heads + 1) if not _misfit(config, n)]
        raise InvalidRequest(
            "tp_size", f"is {tp_size}, which {problem}; give one of {', '.join(map(str, fitting))}"
        )


def _misfit(config: Qwen2Config, tp_size: int) -> str | None:
    if tp_size < 1:
        return "is below 1"
    divided = {
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
    }
    for name, number in divided.items():
        if number % tp_size:
            return f"does not divide {name} {number}"
    heads = config.num_key_value_heads
    if max(heads, tp_size) % min(heads, tp_size):
        return f"neither divides num_key_value_heads {heads} nor is a multiple of it"
    return None


def rank_tensors(config: Qwen2Config, head: str, tp_size: int, rank: int) -> list[RankTensor]:
    """Every tensor of tensor-parallel rank `rank` of `tp_size`, in file order.

    head: source tensor of the output rows; the embedding where they are tied.
    """
    shards = _Shards(config, tp_size, rank)
    layers = [tensor for i in range(config.num_hidden_layers) for tensor in shards.layer(i)]
    return [shards.embedding(), *layers, shards.final_norm(), shards.head(head)]


def _rectangle(name: str, source: str, rows: range, columns: range | None) -> RankTensor:
    shape = (len(rows),) if columns is None else (len(rows), len(columns))
    return RankTensor(name, shape, (Block(source, rows, columns),))


class _Shards:
    """The share of one rank."""

    def __init__(self, config: Qwen2Config, tp_size: int, rank: int) -> None:
        assert 0 <= rank < tp_size
        self._tp_size, self._rank = tp_size, rank
        self._vocab, self._hidden = range(config.vocab_size), range(config.hidden_size)
        self._inner = self._share(config.intermediate_size)
        self._queries = self._share(config.hidden_size)
        head_size = config.hidden_size // config.num_attention_heads
        heads = config.num_key_value_heads
        if heads >= tp_size:
            self._keys = self._share(heads * head_size)
        else:  # with 2 heads on 4 ranks: h0 h0 h1 h1
            head = rank * heads // tp_size
            self._keys = range(head * head_size, (head + 1) * head_size)

    def embedding(self) -> RankTensor:
        name = "transformer.vocab_embedding.weight"
        return _rectangle(name, EMBEDDING, self._vocab, self._hidden)

    def layer(self, layer: int) -> list[RankTensor]:
        hidden = self._hidden

        def target(part: str) -> str:
            return f"transformer.layers.{layer}.{part}.weight"

        def source(part: str) -> str:
            return layer_name(layer, f"{part}.weight")

        return [
            _rectangle(target("input_layernorm"), source("input_layernorm"), hidden, None),
            self._qkv(layer, "weight", hidden),
            self._qkv(layer, "bias", None),
            _rectangle(
                target("attention.dense"), source("self_attn.o_proj"), hidden, self._queries
            ),
            _rectangle(target("post_layernorm"), source("post_attention_layernorm"), hidden, None),
            # fc is the half of the MLP that passes the activation: gate_proj, not up_proj
            _rectangle(target("mlp.fc"), source("mlp.gate_proj"), self._inner, hidden),
            _rectangle(target("mlp.gate"), source("mlp.up_proj"), self._inner, hidden),
            _rectangle(target("mlp.proj"), source("mlp.down_proj"), hidden, self._inner),
        ]

    def final_norm(self) -> RankTensor:
        return _rectangle("transformer.ln_f.weight", FINAL_NORM, self._hidden, None)

    def head(self, source: str) -> RankTensor:
        """Output rows in equal shares; zero rows follow the last of the vocabulary."""
        share = -(-len(self._vocab) // self._tp_size)
        rows = self._vocab[share * self._rank : share * (self._rank + 1)]
        shape = (share, len(self._hidden))
        return RankTensor("lm_head.weight", shape, (Block(source, rows, self._hidden),))

    def _qkv(self, layer: int, kind: str, columns: range | None) -> RankTensor:
        """All query rows of this rank, then its keys, then its values."""
        shares = {"q": self._queries, "k": self._keys, "v": self._keys}
        blocks = tuple(
            Block(layer_name(layer, f"self_attn.{part}_proj.{kind}"), rows, columns)
            for part, rows in shares.items()
        )
        rows = sum(len(share) for share in shares.values())
        shape = (rows,) if columns is None else (rows, len(columns))
        return RankTensor(f"transformer.layers.{layer}.attention.qkv.{kind}", shape, blocks)

    def _share(self, size: int) -> range:
        assert size % self._tp_size == 0, "check_tp_size comes first"
        share = size // self._tp_size
        return range(share * self._rank, share * (self._rank + 1))
