"""The benchmark on a small model: what it runs is what it says it runs."""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import small_cosyvoice2, small_cosyvoice3
from waiting import Clock

from benchmarks import __main__ as bench
from benchmarks import chunks, end_to_end, fidelity, parts, peaks
from benchmarks.baseline import recomputed
from benchmarks.family_parts import PARTS
from benchmarks.figures import figure, ratio, table
from benchmarks.served_model import CODES_PER_SECOND, SENTENCE, VOICE, write_served_model
from tritone.acoustic.placement import FlowSettings
from tritone.families import open_model
from tritone.llm.contract import Increment
from tritone_client import StreamMetrics
from tritone_client.load import counted_from

pytestmark = pytest.mark.slow

SECONDS = 2.0


@pytest.fixture(scope="module", params=[small_cosyvoice2, small_cosyvoice3])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "model"
    write_served_model(folder, SECONDS, request.param())
    return folder


@pytest.fixture(scope="module")
def acoustics(model: Path) -> parts.Acoustics:
    return parts.Acoustics(open_model(model), FlowSettings())


@pytest.fixture(scope="module")
def speak(model: Path) -> Iterator[end_to_end.Speak]:
    with end_to_end.in_process(model, SENTENCE) as here:
        yield here


def test_the_sentence_lasts_as_long_as_it_should(speak: end_to_end.Speak, model: Path) -> None:
    assert open_model(model).config.default_voice == VOICE
    assert [speak(seed).audio_s for seed in range(2)] == [SECONDS, SECONDS]


def test_two_sides_are_compared_run_by_run(speak: end_to_end.Speak) -> None:
    """There, the same metrics each as they are here but half a second later."""

    def later(seed: int) -> StreamMetrics:
        return counted_from(speak(seed), 0.5)

    by_name = {f.name: f for f in end_to_end.side_by_side(speak, later, rounds=3)}
    here, there = by_name["first packet, in process"], by_name["first packet, through Triton"]
    share = by_name["  Triton's share of the first packet"]
    assert share.runs == pytest.approx([b - a for a, b in zip(here.runs, there.runs, strict=True)])
    assert all(run > 0 for run in here.runs) and all(run > 0.5 for run in there.runs)


def test_streams_at_once_all_speak(speak: end_to_end.Speak) -> None:
    runs = end_to_end.at_once(speak, streams=2, rounds=2)
    assert [run.audio_s for run in runs] == [SECONDS] * 4


@pytest.mark.server
@pytest.mark.parametrize("model", [small_cosyvoice3], indirect=True)
def test_a_server_is_weighed_while_it_speaks(model: Path) -> None:
    ready, speaking = end_to_end.memory(model, SENTENCE)
    assert speaking.name == f"  while one stream of {SECONDS:g} s is spoken"
    assert ready.unit == speaking.unit == "MB"
    assert 100 < ready.value < 4000 and 100 < speaking.value < 4000


def test_the_baseline_says_as_much_as_the_stream(acoustics: parts.Acoustics) -> None:
    tokens = acoustics.tokens(SECONDS)
    voice, flow, vocoder = acoustics.voice, acoustics.plain_flow, acoustics.plain_vocoder
    chunked = list(recomputed(acoustics.config, flow, vocoder, voice, tokens))
    overlap = PARTS[acoustics.config.family].vocoded_again
    again = 50 if overlap is None else overlap  # all of the second before
    samples = again * acoustics.config.vocoder.samples_per_frame
    rate = acoustics.config.sample_rate
    assert [len(wave) for wave in chunked] == [rate, rate + samples]
    last = torch.from_numpy(flow.whole(Increment(tokens), voice)[:, -50 - again :])
    with torch.inference_mode():
        wave, _ = vocoder.step(last, vocoder.start(seed=0), finalize=True)
    np.testing.assert_array_equal(chunked[-1], wave)


def test_recomputing_costs_more(
    acoustics: parts.Acoustics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that each token moves for which the flow is asked."""
    clock, flow = Clock(), type(acoustics.flow)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(stage: Any, tokens: np.ndarray, *rest: Any, **options: Any) -> Any:
            clock.move(len(tokens))
            return call(stage, tokens, *rest, **options)

        return count

    monkeypatch.setattr(parts, "time", SimpleNamespace(process_time=clock))
    monkeypatch.setattr(flow, "step", counted(flow.step))
    monkeypatch.setattr(flow, "whole", counted(flow.whole))
    ours, theirs, times = acoustics.against_recomputing(5.0, rounds=1)
    assert ours.value == 125 and theirs.value == 28 + 53 + 78 + 103 + 125
    assert times.value == theirs.value / ours.value


def test_growth_compares_the_chunks_that_it_names(
    acoustics: parts.Acoustics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LATE", 6)
    grown = chunks.growth({"all": acoustics}, rounds=1)["all"]
    assert len(grown.seconds) == 8 and grown.cache_bytes > 0
    (early, grew, cache) = chunks.figures_of({"all": grown}, "bounded")
    assert grew.value == grown.at(6) / early.value and cache.unit == "MB"


def test_ratios_are_taken_round_by_round() -> None:
    slow, fast = figure("slow", "s", [4.0, 9.0, 2.0]), figure("fast", "s", [2.0, 3.0, 2.0])
    times = ratio("times", slow, fast, "at least 2")
    assert times.runs == (2.0, 3.0, 1.0) and times.value == 2.0
    assert "| times | 2 times | 1 to 3 | at least 2 |" in table([times])


def test_the_command_writes_what_it_prints(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = partial(peaks.measured, rounds=1, side=32, megabytes=1)
    monkeypatch.setattr(peaks, "measured", tiny)
    parts = "--parts llm eager stages recomputed sentence"
    options = f"{parts} --streams 1 2 --steps 3 --seconds 1 --rounds 1"
    command = ["bench", "--model", str(model), "--out", str(tmp_path), *options.split()]
    monkeypatch.setattr(sys, "argv", command)
    assert bench.main() == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "bench.json").read_text())
    names = [row["name"] for row in written["figures"]]
    assert all(f"| {name} |" in printed for name in names)
    assert "LLM int8, step of 2 streams" in names and "  eager over ours" in names
    assert all(row["value"] > 0 for row in written["figures"])
    shares = {row["name"]: row["share"] for row in written["figures"]}
    assert shares["LLM int8, step of 1 stream"] > 0 and shares["vocoder, a chunk"] > 0
    assert shares["RTF, exact, 1 core"] is None
    assert "RTF, exact, 16 cores, modelled at best" in shares
    assert (tmp_path / f"cores-{open_model(model).family.name}.png").is_file()
    assert written["machine"]["cores"] > 0 and "flags" not in written["machine"]
    monkeypatch.setattr(sys, "argv", [*command[:1], "--model", str(tmp_path)])
    assert bench.main() == 2
    assert "is not a Tritone model directory" in capsys.readouterr().err


def test_solvers_are_measured_against_the_true_solution(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "_TRUE_STEPS", 12)
    monkeypatch.setattr(fidelity, "_STEPS", (5,))
    opened = open_model(model)
    found = fidelity.of_solvers(opened, fidelity.spoken(opened)[:1])
    error = {f.name.removesuffix(": error"): f.value for f in found}
    own = error["preset exact: euler, 2 steps, guided in 1 to 2, 4 evaluations"]
    more = error["euler, 5 steps, guided in 1 to 5, 10 evaluations"]
    assert 0 < more < own
    assert "dpm2m, 5 steps, guided in 2 to 5, 9 evaluations" in error


def test_fidelity_is_measured_against_the_exact_way(model: Path) -> None:
    opened = open_model(model)
    speech = fidelity.spoken(opened)
    assert {len(each.voice.prompt_tokens) for each in speech} == {3 * CODES_PER_SECOND}
    flow = {f.name: f.value for f in fidelity.of_flow(opened, speech)}
    assert 0 < flow["flow, bf16: difference of the mel"] < 1
    (waves,) = fidelity.of_vocoder(opened, speech)
    assert 20 < waves.value < 80
    exact, same = fidelity.of_language_model(opened, ["fp32"], speech)
    assert exact.value == pytest.approx(0, abs=1e-6) and same.value == 1
    rounded, _ = fidelity.of_language_model(opened, ["int4_b128"], speech)
    assert 1e-4 < rounded.value < 0.5
