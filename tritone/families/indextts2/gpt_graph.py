"""The ONNX graph of the decoder, for the slot session: a GPT-2 whose rows and places come from
outside, with the states that logits are made of beside the logits."""

from dataclasses import dataclass

import numpy as np

from tritone.arrays import Float32
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.llm.head_padding import pad_heads
from tritone.llm.onnx.graph_writer import MICROSOFT
from tritone.llm.onnx.step_graph import LAST, StepGraph

_NORM = {"axis": -1, "epsilon": 1e-5}


@dataclass(frozen=True)
class GptGraph(StepGraph):
    """Of the weights of `.gpt.Gpt`."""

    config: GptConfig

    def build(self) -> None:
        node = self.writer.node
        self._declare()
        hidden = "inputs_embeds"
        normed = node(
            "LayerNormalization", [hidden, *self._affine("blocks.0.attention_norm")], "in", **_NORM
        )
        for layer in range(self.config.layers):
            normed, hidden = self._layer(layer, normed, hidden)
        last = self.writer.constant("last", np.array(-1, np.int64))
        ended = node("Gather", [normed, last], "ended", axis=1)
        node("LayerNormalization", [ended, *self._affine("final_norm")], LAST, **_NORM)
        self._linear(LAST, *self._matrix("head"), "logits")

    def _outputs(self) -> dict[str, int]:
        return {"logits": self.config.codes + 2, LAST: self.config.width}

    def _layer(self, layer: int, normed: str, hidden: str) -> tuple[str, str]:
        """One block; returns the next one's normalised input and the residual stream."""
        name = f"blocks.{layer}"
        attention = self._attention(layer, normed)
        normed, hidden = self._add_norm(attention, hidden, f"{name}.feed_forward_norm")
        expanded = self._mlp_linear(normed, *self._matrix(f"{name}.expand"), f"{name}.expand")
        active = self.writer.node("FastGelu", [expanded], f"{name}.active", domain=MICROSOFT)
        contract = f"{name}.contract"
        contracted = self._mlp_linear(active, *self._matrix(contract), contract)
        is_last = layer + 1 == self.config.layers
        following = "norm" if is_last else f"blocks.{layer + 1}.attention_norm"
        return self._add_norm(contracted, hidden, following)

    def _attention(self, layer: int, normed: str) -> str:
        name, heads = f"blocks.{layer}", self.config.heads
        weight, bias = (
            np.concatenate([pad_heads(part, heads) for part in np.split(values, 3)])
            for values in self._matrix(f"{name}.query_key_value")
        )
        joined = self._linear(normed, weight, bias, f"{name}.query_key_value")
        cache = [f"past.{layer}.key", f"past.{layer}.value"]
        attended = self.writer.node(
            "GroupQueryAttention",
            [joined, "", "", *cache, "seqlens_k", "total_sequence_length"],
            *(f"{name}.attention", f"present.{layer}.key", f"present.{layer}.value"),
            domain=MICROSOFT,
            num_heads=heads,
            kv_num_heads=heads,
            scale=self.config.head_dim**-0.5,
        )
        weight, bias = self._matrix(f"{name}.output")
        return self._linear(attended, pad_heads(weight.T, heads).T, bias, f"{name}.output")

    def _add_norm(self, branch: str, hidden: str, norm: str) -> tuple[str, str]:
        """The norm of hidden + branch; returns (normalised, sum)."""
        name, residual = f"{norm}.normed", f"{norm}.residual"
        self.writer.node(
            "SkipLayerNormalization",
            [hidden, branch, *self._affine(norm)],
            *(name, "", "", residual),
            domain=MICROSOFT,
            epsilon=_NORM["epsilon"],
        )
        return name, residual

    def _matrix(self, name: str) -> tuple[Float32, Float32]:
        return self._load(f"{name}.weight"), self._load(f"{name}.bias")

    def _affine(self, norm: str) -> tuple[str, str]:
        return self._constant(f"{norm}.weight"), self._constant(f"{norm}.bias")
