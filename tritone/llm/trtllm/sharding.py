"""Names and shapes of a TensorRT-LLM Qwen2 checkpoint, and which part of the source a rank holds.

Source: TensorRT-LLM 0.20, tensorrt_llm/models/qwen/{convert,model}.py and
docs/source/architecture/checkpoint.md. Linear weights are (out, in), as those of Hugging Face.
"""

from dataclasses import dataclass

from tritone.errors import InvalidRequest
from tritone.llm.checkpoint import EMBEDDING, FINAL_NORM, layer_name
from tritone.llm.config import Qwen2Config


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
    for name in ("num_attention_heads", "intermediate_size"):
        number = getattr(config, name)
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
    assert 0 <= rank < tp_size
    vocab, hidden = range(config.vocab_size), range(config.hidden_size)
    # output rows in equal shares; zero rows follow the last of the vocabulary
    share = -(-len(vocab) // tp_size)
    rows = vocab[share * rank : share * (rank + 1)]
    return [
        _stack("vocab_embedding.weight", [Block(EMBEDDING, vocab, hidden)]),
        *(
            _stack(f"layers.{layer}.{name}", blocks)
            for layer in range(config.num_hidden_layers)
            for name, blocks in _layer(config, layer, tp_size, rank).items()
        ),
        _stack("ln_f.weight", [Block(FINAL_NORM, hidden)]),
        RankTensor("lm_head.weight", (share, len(hidden)), (Block(head, rows, hidden),)),
    ]


def _stack(name: str, blocks: list[Block]) -> RankTensor:
    rows, columns = sum(len(block.rows) for block in blocks), blocks[0].columns
    shape = (rows,) if columns is None else (rows, len(columns))
    return RankTensor(f"transformer.{name}", shape, tuple(blocks))


def _layer(config: Qwen2Config, layer: int, tp_size: int, rank: int) -> dict[str, list[Block]]:
    """A rank's blocks of every tensor of a layer."""

    def part(source: str, rows: range, columns: range | None = None) -> Block:
        return Block(layer_name(layer, source), rows, columns)

    hidden = range(config.hidden_size)
    queries, inner = (_share(n, tp_size, rank) for n in (len(hidden), config.intermediate_size))
    keys = _key_rows(config, tp_size, rank)
    shares = {"q": queries, "k": keys, "v": keys}
    qkv = {f"self_attn.{name}_proj": rows for name, rows in shares.items()}
    return {
        "input_layernorm.weight": [part("input_layernorm.weight", hidden)],
        # all query rows of this rank, then its keys, then its values
        "attention.qkv.weight": [
            part(f"{name}.weight", rows, hidden) for name, rows in qkv.items()
        ],
        "attention.qkv.bias": [part(f"{of}.bias", rows) for of, rows in qkv.items()],
        "attention.dense.weight": [part("self_attn.o_proj.weight", hidden, queries)],
        "post_layernorm.weight": [part("post_attention_layernorm.weight", hidden)],
        # fc is the half of the MLP that passes the activation: gate_proj, not up_proj
        "mlp.fc.weight": [part("mlp.gate_proj.weight", inner, hidden)],
        "mlp.gate.weight": [part("mlp.up_proj.weight", inner, hidden)],
        "mlp.proj.weight": [part("mlp.down_proj.weight", hidden, inner)],
    }


def _key_rows(config: Qwen2Config, tp_size: int, rank: int) -> range:
    heads, size = config.num_key_value_heads, config.head_dim
    if heads >= tp_size:
        return _share(heads * size, tp_size, rank)
    head = rank * heads // tp_size  # with 2 heads on 4 ranks: h0 h0 h1 h1
    return range(head * size, (head + 1) * size)


def _share(size: int, tp_size: int, rank: int) -> range:
    assert size % tp_size == 0, "check_tp_size comes first"
    share = size // tp_size
    return range(share * rank, share * (rank + 1))
