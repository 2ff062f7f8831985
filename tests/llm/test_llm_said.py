"""What each token is said for: the attention of the text heads, against that of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from llm_model import TinyConfig, build_tiny, merge_tiny, request
from transformers import Qwen2Model

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.config import SamplingConfig
from tritone.llm.onnx.graph import build_graph
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import ensure_graph, open_onnx
from tritone.llm.slots.session import SlotSession
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots

HEADS = ((0, 1), (1, 2), (1, 0))
LENGTH, PROMPT = 64, 12


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TinyConfig]:
    folder = tmp_path_factory.mktemp("model")
    llm = merge_tiny(folder / "llm").model_copy(update={"text_heads": HEADS})
    build_graph(folder / "llm", llm, "fp32")
    return folder, TinyConfig(llm, SamplingConfig())


@pytest.fixture
def directory(built: tuple[Path, TinyConfig]) -> Path:
    return built[0]


@pytest.fixture
def config(built: tuple[Path, TinyConfig]) -> TinyConfig:
    return built[1]


def session(kind: str, directory: Path, config: TinyConfig) -> SlotSession:
    if kind == "onnx":
        sizes = {"slots": 3, "slot_length": LENGTH}
        return OnnxSlots(directory / "llm", config.llm, precision="fp32", **sizes)
    checkpoint = Checkpoint(directory / "llm" / WEIGHTS_NAME)
    device = torch.device("cpu")
    decoder = TorchQwen2(checkpoint, config.llm, device, torch.float32)
    return TorchSlots(decoder, slots=3, slot_length=LENGTH)


def wanted(directory: Path, embeds: Float32) -> list[int]:
    """Of every position from the prompt's last one on, by another implementation."""
    model = Qwen2Model.from_pretrained(
        directory / "llm", attn_implementation="eager", dtype=torch.float32
    )
    with torch.inference_mode():
        found = model(inputs_embeds=torch.from_numpy(embeds)[None], output_attentions=True)
    total = sum(found.attentions[layer][0, head].log() for layer, head in HEADS)
    return total[PROMPT - 1 :, :PROMPT].argmax(dim=1).tolist()


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_heads_look_where_the_model_s_own_attention_does(
    kind: str, directory: Path, config: TinyConfig
) -> None:
    table = EmbeddingTable(Checkpoint(directory / "llm" / WEIGHTS_NAME))
    rng = np.random.default_rng(5)
    streams = [table(rng.integers(0, 264, 40).astype(np.int32)) for _ in range(2)]
    slots = session(kind, directory, config)
    seen: list[list[int]] = []
    keys: list[Float32] = []
    for slot, embeds in enumerate(streams):
        slots.prefill(slot, embeds[:5])
        slots.prefill(slot, embeds[5:PROMPT], 5)
        keys.append(slots.text_keys(slot, PROMPT))
        seen.append([int((keys[slot] @ slots.text_query(0, PROMPT - 1)).argmax())])
    for position in range(PROMPT, 40):
        slots.decode(np.stack([e[position] for e in streams]), np.full(2, position, np.int32))
        for slot in range(2):
            seen[slot].append(int((keys[slot] @ slots.text_query(slot, position)).argmax()))
    for slot, embeds in enumerate(streams):
        assert seen[slot] == wanted(directory, embeds)
        assert len(set(seen[slot])) > 3, "a test of one place alone would prove little"


@pytest.mark.parametrize("opened", [open_onnx, open_torch])
def test_every_token_comes_with_what_it_is_said_for(
    opened: type, directory: Path, config: TinyConfig
) -> None:
    options = {"precision": "fp32"} if opened is open_onnx else {"device": "cpu", "dtype": "fp32"}
    model = opened(directory, config, max_tokens=LENGTH, **options)
    try:
        increments = list(model.submit(request(3)))
    finally:
        model.close()
    assert increments
    for increment in increments:
        assert increment.said is not None and len(increment.said) == len(increment.ids)
        assert increment.said.min() >= 0 and increment.said.max() < len(request(3).prompt)


def test_a_model_without_such_heads_says_nothing(tmp_path: Path) -> None:
    model = open_onnx(tmp_path, build_tiny(tmp_path), precision="fp32", max_tokens=LENGTH)
    try:
        assert all(increment.said is None for increment in model.submit(request(3)))
    finally:
        model.close()


def test_a_graph_without_the_heads_is_built_again(tmp_path: Path) -> None:
    plain = build_tiny(tmp_path, "fp32")
    more = TinyConfig(plain.llm.model_copy(update={"text_heads": HEADS}), SamplingConfig())
    sizes = {"precision": "fp32", "slots": 1, "slot_length": LENGTH}
    with pytest.raises(ModelDirectoryError, match="was built from another checkpoint"):
        OnnxSlots(tmp_path / "llm", more.llm, **sizes)
    ensure_graph(tmp_path, more, "fp32")
    OnnxSlots(tmp_path / "llm", more.llm, **sizes)


def test_heads_that_are_not_there_are_named(config: TinyConfig) -> None:
    with pytest.raises(ValueError, match="text_heads names head 99 of layer 0: there is none"):
        type(config.llm).model_validate({**config.llm.model_dump(), "text_heads": [[0, 99]]})
