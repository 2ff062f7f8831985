"""ONNX exports of CosyVoice3 against torch, at lengths that they were not made at."""

from collections.abc import Iterator
from typing import Any

import onnx
import pytest
import torch
from engine_models import GRAPHS, export_of, exported, largest_difference, runner
from torch import Tensor

from tritone.acoustic.estimator import EstimatorState
from tritone.acoustic.filter import Filter
from tritone.engines.export import read_exports, reference
from tritone.engines.sources import Graph, Profiles, Sizes
from tritone.families import open_model
from tritone.families.cosyvoice3 import graph_source
from tritone.families.cosyvoice3.acoustics import load_hift
from tritone.families.cosyvoice3.graphs import FilterGraph, turn_input
from tritone.families.cosyvoice3.source_noise import SourceNoise
from tritone.families.cosyvoice3.vocoder import Vocoder

pytestmark = pytest.mark.slow

OURS = GRAPHS["cosyvoice3"]
CLOSE = {"flow": 1e-5, "vocoder": 4e-5}  # of an output's RMS; found: at most 4e-6 and 1.9e-5


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def graph_of(name: str) -> Graph:
    return exported("cosyvoice3").graph(OURS[name], name)


def test_every_graph_is_exported_and_checked() -> None:
    graphs = read_exports(exported("cosyvoice3").model_dir).graphs
    assert set(graphs) == set(OURS)
    for name, entry in graphs.items():
        assert 0 < entry.difference < CLOSE[OURS[name]], name


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("estimator_step", {"streams": 1, "chunk_frames": 1, "past_frames": 1}),
        ("estimator_step", {"streams": 3, "chunk_frames": 50, "past_frames": 300}),
        ("estimator", {"frames": 4}),
        ("estimator", {"frames": 150}),
        ("estimator_masked", {"streams": 1, "batch_frames": 4}),
        ("estimator_masked", {"streams": 3, "batch_frames": 51}),
        ("vocoder_opening", {"streams": 1, "window_frames": 2}),
        ("vocoder_opening", {"streams": 3, "window_frames": 40}),
        ("vocoder", {"streams": 1, "window_frames": 30}),
        ("vocoder", {"streams": 3, "window_frames": 80}),
    ],
    ids=str,
)
def test_an_export_serves_every_length_of_its_profile(name: str, sizes: Sizes) -> None:
    graph = graph_of(name)
    inputs = graph.sample(sizes, seed=3)
    assert {key: tuple(x.shape) for key, x in inputs.items()} == graph.shapes(sizes)
    outputs = runner(export_of(name, "cosyvoice3"))(inputs)
    for key, expected in reference(graph, inputs).items():
        assert outputs[key].shape == expected.shape
        assert largest_difference(outputs[key], expected) < CLOSE[OURS[name]], key


@pytest.mark.parametrize("name", OURS)
def test_a_profile_holds_the_lengths_of_the_acceptance(name: str) -> None:
    graph = graph_of(name)
    for sizes in graph.examples:
        for key, shape in graph.shapes(sizes).items():
            least, _, most = graph.profile()[key]
            assert all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)), key


@pytest.mark.parametrize("name", OURS)
def test_an_export_has_nothing_that_an_engine_gets_wrong(name: str) -> None:
    """TensorRT has no float64, and its sine need not be good for the angle of a late position."""
    model = onnx.shape_inference.infer_shapes(onnx.load(export_of(name, "cosyvoice3"))).graph
    values = [*model.input, *model.value_info, *model.output]
    types = {value.type.tensor_type.elem_type for value in values}
    types |= {weight.data_type for weight in model.initializer}
    assert onnx.TensorProto.FLOAT in types and onnx.TensorProto.DOUBLE not in types
    if OURS[name] == "flow":
        assert not {node.op_type for node in model.node} & {"Sin", "Cos", "Range"}


def test_equal_dimensions_have_one_name() -> None:
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for name in ("estimator_step", "vocoder")
        for value in onnx.load(export_of(name, "cosyvoice3")).graph.input
    }
    assert dims == {
        "x": ["x_0", "chunk_frames", 320],
        "shifts": [20, 48],
        "turn": [2, "x_0", "chunk_frames", 6],
        "tails": ["x_0", 30, 96],
        "cache": [3, 2, "x_0", 4, "past_frames", 12],
        "visible": ["x_0", "visible_1"],
        "mel": ["streams", 80, "mel_2"],
        "spectrum": ["streams", 18, "spectrum_2"],
    }


def test_streams_at_other_positions_go_together() -> None:
    """In one call the second stream has half the past; what its cache lacks is masked."""
    graph, rows, frames = graph_of("estimator_step"), 2, (100, 50)
    estimator: Any = graph.module.estimator
    inputs = graph.sample({"streams": 2, "chunk_frames": 20, "past_frames": 100}, seed=5)
    shifts = [shift[None, None] for shift in inputs["shifts"]]
    before = torch.randn(rows, 100, 320, generator=torch.Generator().manual_seed(6))
    states = []
    for stream, past in enumerate(frames):
        state = EstimatorState.empty(estimator, rows, 0, torch.float32)
        for begin in range(0, past, 50):
            _, (state,) = estimator.step(before[:, begin : begin + 50], shifts, [state])
        states.append(state)
        own = slice(rows * stream, rows * stream + rows)
        inputs["tails"][own] = torch.cat(state.tails, dim=2)
        for layer, cache in enumerate(inputs["cache"]):
            spans = state.store.fork().write(layer, *torch.zeros(2, rows, 4, 1, 12))
            keys = torch.cat([span.key for span in spans], dim=2)
            values = torch.cat([span.value for span in spans], dim=2)
            cache[:, own, :, :past] = torch.stack([keys, values])[:, :, :, :past]
        inputs["visible"][own] = True
        inputs["visible"][own, past:100] = False
        positions = torch.arange(past, past + 20).expand(rows, -1)
        inputs["turn"][:, own] = turn_input(positions, estimator.head_dim)["turn"]
    velocity = runner(export_of("estimator_step", "cosyvoice3"))(inputs)["velocity"]
    expected, _ = estimator.step(inputs["x"], shifts, states)
    assert largest_difference(velocity, expected) < CLOSE["flow"]


def test_a_stream_through_the_exported_filters_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows that begin with the stream, the first two here, go to one graph, later ones to the
    other."""
    calls: list[str] = []

    def plan_filter(sources: object, part: str, name: str, *placement: object) -> Filter:
        session = runner(export_of(name, "cosyvoice3"))

        def run(mel: Tensor, spectrum: Tensor) -> Tensor:
            calls.append(name)
            return session({"mel": mel, "spectrum": spectrum})["bins"]

        return run

    monkeypatch.setattr(graph_source, "plan_filter", plan_filter)
    model = open_model(exported("cosyvoice3").model_dir)
    opened = graph_source.vocoder_plan(model.folder, model.config)
    filter = opened(torch.float32, torch.device("cpu"))
    network, noise = load_hift(model.folder, model.config), SourceNoise(model.config)
    mel = graph_of("vocoder_opening").sample({"streams": 1, "window_frames": 130}, 7)["mel"][0]
    waves = []
    for own in (None, filter):
        vocoder = Vocoder(network, 24000, noise, own)
        state, parts = vocoder.start(0), []
        for part in torch.split(mel, 27, dim=1):
            wave, state = vocoder.step(part, state, finalize=part.shape[1] < 27)
            parts.append(wave)
        waves.append(torch.cat(parts))
    assert calls == ["vocoder_opening"] * 2 + ["vocoder"] * 3
    assert waves[0].shape == waves[1].shape == (480 * mel.shape[1],)
    torch.testing.assert_close(waves[1], waves[0], atol=1e-5, rtol=0)


def test_later_windows_are_never_shorter_than_what_the_filter_looks_back_on() -> None:
    graph = graph_of("vocoder")
    assert isinstance(graph, FilterGraph)
    usual = Profiles().window_frames
    axis, fewest = graph.axes["window_frames"], graph.network.context + 1
    assert axis.least == fewest > usual.least
    assert (axis.usual, axis.most) == (usual.usual, usual.most)
    short = graph.sample({"streams": 1, "window_frames": fewest}, 1)
    steps = reference(graph, short)["bins"].shape[2]
    assert steps >= graph.network.steps, "a frame is whole"
