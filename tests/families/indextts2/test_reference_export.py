"""The networks that read a reference become ONNX graphs that take recordings of any length."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from indextts2_front import golden, tiny_conditioning
from parity.indextts2_reference import load_codec, load_speaker_encoder, load_w2v_bert
from torch import Tensor, nn

from tritone.engines.export import OPSET, session_of

pytestmark = pytest.mark.slow

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "w2v_bert": (lambda: load_w2v_bert(golden("w2v_bert")), 20),
    "codec": (lambda: load_codec(golden("semantic_codec")), 24),
    "speaker": (lambda: load_speaker_encoder(golden("campplus")), 16),
    "of_speaker": (lambda: tiny_conditioning().of_speaker, 40),
    "of_emotion": (lambda: tiny_conditioning().of_emotion, 40),
}


def inputs(name: str, frames: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    x = torch.randn(1, frames, NETWORKS[name][1], generator=generator)
    valid = {"valid": torch.arange(frames)[None] < frames - 1} if name == "w2v_bert" else {}
    return {"x": x, **valid}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_export_takes_any_length(name: str, tmp_path: Path) -> None:
    file, given = io.BytesIO(), inputs(name, 50)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        network = NETWORKS[name][0]()
        torch.onnx.export(
            network,
            tuple(given.values()),
            file,
            input_names=list(given),
            dynamic_axes={key: {1: "frames"} for key in given},
            opset_version=OPSET,
            dynamo=False,
        )
    (tmp_path / "graph.onnx").write_bytes(file.getvalue())
    session = session_of(tmp_path / "graph.onnx")
    for frames in (23, 131, 230):
        given = inputs(name, frames)
        found = session.run(None, {key: value.numpy() for key, value in given.items()})
        with torch.inference_mode():
            expected = network(*given.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=2e-5, rtol=2e-5)
