"""ONNX exports of the flow and the vocoder against torch, at lengths that they were not made at."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from engine_models import (
    export_of,
    exported,
    inputs_of,
    largest_difference,
    model_directory,
    runner,
    sources_of,
    tasks_of,
)
from torch import Tensor, nn

from tritone.acoustic.attention import chunk_mask
from tritone.engines.export import TOLERANCE, export, onnx_path, read_exports, reference
from tritone.engines.sources import Axis, Graph, Shape, Sizes
from tritone.engines.tasks import run_tasks
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.families.cosyvoice2.graphs import EncoderGraph

pytestmark = pytest.mark.slow

GRAPHS = {
    "flow_encoder": "flow",
    "estimator_step": "flow",
    "estimator": "flow",
    "estimator_masked": "flow",
    "f0_predictor": "vocoder",
    "vocoder": "vocoder",
}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_every_graph_is_exported_and_checked() -> None:
    graphs = read_exports(exported().model_dir).graphs
    assert set(graphs) == set(GRAPHS)
    for name, entry in graphs.items():
        assert 0 < entry.difference <= TOLERANCE, name
        assert entry.nbytes == export_of(name).stat().st_size


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("flow_encoder", {"tokens": 1, "past_tokens": 1}),
        ("flow_encoder", {"tokens": 7, "past_tokens": 2}),
        ("estimator_step", {"streams": 1, "chunk_frames": 1, "past_frames": 1}),
        ("estimator_step", {"streams": 3, "chunk_frames": 50, "past_frames": 300}),
        ("estimator", {"frames": 4}),
        ("estimator_masked", {"streams": 3, "batch_frames": 51}),
        ("f0_predictor", {"streams": 1, "window_frames": 2}),
        ("vocoder", {"streams": 1, "window_frames": 2}),
        ("vocoder", {"streams": 3, "window_frames": 40}),
    ],
    ids=str,
)
def test_an_export_serves_every_length_of_its_profile(name: str, sizes: Sizes) -> None:
    graph = exported().graph(GRAPHS[name], name)
    inputs = graph.sample(sizes, seed=3)
    assert {key: tuple(x.shape) for key, x in inputs.items()} == graph.shapes(sizes)
    outputs = runner(export_of(name))(inputs)
    for key, expected in reference(graph, inputs).items():
        assert outputs[key].shape == expected.shape
        assert largest_difference(outputs[key], expected) < TOLERANCE, key


def test_profiles_hold_the_lengths_of_the_acceptance() -> None:
    for name, part in GRAPHS.items():
        graph = exported().graph(part, name)
        for sizes in graph.examples:
            for key, shape in graph.shapes(sizes).items():
                least, _, most = graph.profile()[key]
                assert all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)), name


def test_equal_dimensions_have_one_name() -> None:
    """A builder may take dimensions of one name for equal."""
    model = onnx.load(export_of("estimator_step"), load_external_data=False)
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    assert dims == {
        "x": ["x_0", "chunk_frames", 320],
        "shifts": [5, 128],
        "tails": ["x_0", 2, 1984],
        "cache": [5, 2, "x_0", 4, "past_frames", 32],
        "visible": ["x_0", "visible_1"],
    }
    for name, part in GRAPHS.items():
        graph = exported().graph(part, name)
        odd = {axis: 3 + 4 * place for place, axis in enumerate(graph.axes)}
        lengths: dict[str, set[int]] = {}
        for key, shape in graph.shapes(odd).items():
            for index, axis_name in graph.dynamic_axes()[key].items():
                lengths.setdefault(axis_name, set()).add(shape[index])
        assert all(len(found) == 1 for found in lengths.values()), name


class Baked(Graph):
    """Divides by a length that tracing takes for a constant."""

    name = "baked"
    outputs = ("y",)
    examples = ({"n": 4}, {"n": 6})

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / int(x.shape[1])

    def __init__(self) -> None:
        super().__init__(self.Module(), {"n": Axis(1, 4, 9)})

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return {"x": (2, sizes["n"])}

    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        return {"x": torch.ones(self.shapes(sizes)["x"])}


def test_an_export_with_a_baked_in_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"baked: its export differs from torch by 0\.5"):
        export(Baked(), tmp_path / "baked.onnx")
    assert not list(tmp_path.iterdir())


def test_an_export_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    graph = Baked()
    graph.sample = lambda sizes, seed: {"x": torch.full((2, sizes["n"]), torch.inf)}  # type: ignore[method-assign]
    with pytest.raises(StageFailed, match="differs from torch by nan"):
        export(graph, tmp_path / "baked.onnx")


def encoder_inputs(
    graph: EncoderGraph, codes: Tensor, context: Tensor, cached: int = 1
) -> dict[str, Tensor]:
    """A call of one stream; of its `cached` tokens the first is the one that is always masked."""
    inputs = graph.empty({"tokens": len(codes), "past_tokens": cached})
    inputs["tokens"] = codes[None]
    inputs["context"][0, : len(context)] = context
    inputs["context_given"][0, : len(context)] = 1.0
    inputs["token_visible"][:, :, 1:] = True
    inputs["frame_visible"][:, :, 2:] = True
    return inputs


def mu_of(name: str, chunked: bool, codes: Tensor) -> Tensor:
    flow = exported().graph("flow", name).module
    masks = (
        (chunk_mask(len(codes), 25), chunk_mask(2 * len(codes), 50)) if chunked else (None, None)
    )
    embedded = flow.embedding(codes)[None]  # type: ignore[operator]
    return flow.projection(flow.encoder(embedded, embedded[:, :0], masks))  # type: ignore


@pytest.mark.parametrize("chunked", [False, True], ids=["full", "chunked"])
def test_the_exported_encoder_takes_an_utterance_whole(chunked: bool) -> None:
    graph = exported().graph("flow", "flow_encoder")
    assert isinstance(graph, EncoderGraph)
    codes = torch.randint(6561, (60,), generator=torch.Generator().manual_seed(4))
    inputs = encoder_inputs(graph, codes, codes[:0])
    if chunked:
        inputs["token_visible"][0, :, 1:] = chunk_mask(60, 25)
        inputs["frame_visible"][0, :, 2:] = chunk_mask(120, 50)
    mu = runner(export_of("flow_encoder"))(inputs)["mu"]
    assert largest_difference(mu, mu_of("flow_encoder", chunked, codes)) < TOLERANCE


def test_the_exported_encoder_carries_a_stream() -> None:
    """Chunks of 25 codes with their look-ahead give what one pass with the chunk mask gives."""
    graph = exported().graph("flow", "flow_encoder")
    assert isinstance(graph, EncoderGraph)
    codes = torch.randint(6561, (65,), generator=torch.Generator().manual_seed(8))
    session = runner(export_of("flow_encoder"))
    mus, carried, cached = [], {}, 1
    for begin in range(0, 65, 25):
        end = begin + 25
        inputs = encoder_inputs(graph, codes[begin:end], codes[end : end + 3], cached) | carried
        outputs = session(inputs)
        mus.append(outputs["mu"])
        carried = {
            "lookahead_tail": outputs["next_lookahead_tail"],
            "upsample_tail": outputs["next_upsample_tail"],
            "token_cache": torch.cat([inputs["token_cache"], outputs["new_tokens"]], dim=4),
            "frame_cache": torch.cat([inputs["frame_cache"], outputs["new_frames"]], dim=4),
        }
        cached = carried["token_cache"].shape[4]
    expected = mu_of("flow_encoder", True, codes)
    assert largest_difference(torch.cat(mus, dim=1), expected) < TOLERANCE


def test_frames_that_are_masked_change_nothing() -> None:
    inputs = inputs_of("estimator_step")
    hidden = dict(inputs)
    hidden["visible"] = inputs["visible"].clone()
    hidden["visible"][:, 5:9] = False
    other = {**hidden, "cache": inputs["cache"].clone()}
    other["cache"][..., 5:9, :] = 100.0
    session = runner(export_of("estimator_step"))
    same, changed = session(hidden)["velocity"], session(other)["velocity"]
    assert torch.equal(same, changed)
    assert not torch.allclose(same, session(inputs)["velocity"])


def test_the_exported_vocoder_makes_the_waveform_of_decode() -> None:
    graph = exported().graph("vocoder", "vocoder")
    network = graph.module.network
    mel = inputs_of("vocoder", "vocoder")["mel"]
    source = 0.1 * torch.randn(2, 480 * mel.shape[2], generator=torch.Generator().manual_seed(2))
    bins = runner(export_of("vocoder"))({"mel": mel, "spectrum": network.analyse(source)})["bins"]
    expected = network.decode(mel, source)
    assert largest_difference(network.synthesise(bins), expected) < TOLERANCE


def test_exports_are_made_once_and_again_when_their_weights_change(tmp_path: Path) -> None:
    model = model_directory(tmp_path / "model")

    def states() -> list[str]:
        tasks = tasks_of(sources_of(model), ("vocoder",), "bfloat16")
        return [outcome.state for outcome in run_tasks(tasks, force=False)]

    assert states() == ["built", "built"]
    assert states() == ["there", "there"]
    onnx_path(model, "vocoder").write_bytes(b"half a file")
    assert states() == ["there", "built"]
    config = model / "config.json"
    config.write_text(config.read_text().replace('"audio_limit": 0.99', '"audio_limit": 0.98'))
    assert states() == ["built", "built"]


def test_a_directory_without_weights_is_named(tmp_path: Path) -> None:
    model = model_directory(tmp_path / "model")
    (model / "flow.safetensors").unlink()
    with pytest.raises(ModelDirectoryError, match=r"flow\.safetensors"):
        sources_of(model).digest("flow")
