"""What the capacity benchmark makes of measured streams, and how a prediction is compared."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from measured_machine import machine
from waiting import Clock

pytest.importorskip("simpy")

from benchmarks import capacity, planner_check
from tritone_client import SpeechError, StreamMetrics
from tritone_client.load import Sample, poisson_arrivals


def sample(number: int, total: float = 2.0, error: SpeechError | None = None) -> Sample:
    """Twelve seconds of audio, whose first packet took a tenth of the time."""
    metrics = StreamMetrics(total / 10, total / 10, total, 12.0, total / 12, 1, (), 0, 0.0)
    return Sample(number, float(number), 0.0, metrics, error)


def test_streams_at_the_begin_and_the_end_do_not_count() -> None:
    samples = [sample(n, 2.0 if 3 <= n < 17 else 50.0) for n in range(20)]
    level = capacity.level_of(3, samples[::-1])
    assert level.stream_s == [2.0] * 14
    assert level.audio_per_second == pytest.approx(3 * 12 / 2)
    assert level.first_packet_s == [0.2] * 14


def test_a_stream_that_was_refused_ends_it() -> None:
    samples = [sample(n) for n in range(20)]
    samples[7] = sample(7, error=SpeechError("UNAVAILABLE", "16 streams are running, the limit"))
    with pytest.raises(ValueError, match=r"4 streams at a time: .* the limit"):
        capacity.level_of(4, samples)


def test_each_level_is_full_all_the_time() -> None:
    """A server at which everybody takes as long as there are others."""
    clock, running, most = Clock(), 0, []

    async def speak(number: int) -> tuple[StreamMetrics, None]:
        nonlocal running
        running += 1
        most.append(running)
        beside = running
        await asyncio.sleep(0)
        running -= 1
        clock.move(0.1)
        return sample(number, float(beside)).metrics, None

    found = asyncio.run(capacity.levels(speak, [1, 2, 5]))
    assert [level.streams for level in found] == [1, 2, 5]
    assert max(most) == 5
    assert all(len(level.audio_s) >= capacity.FEWEST for level in found)


def test_the_server_s_processes_are_those_that_listen_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        assert capacity.server_processes(url)[0] == psutil.Process()
        assert capacity.cpu_seconds(capacity.server_processes(url)) > 0
    assert capacity.server_processes(url) == []
    assert capacity.server_processes("tts.example.com:8001") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--streams", "2,4"], "--streams [2, 4]: they must begin at 1 and grow"),
        (["--streams", "1,4,2"], "must begin at 1 and grow"),
        (["--json", "nowhere/x.json"], "the folder is not there"),
    ],
)
def test_what_could_only_fail_later_is_refused(
    words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        capacity.main(["--kind", "x", "--json", "x.json", *words])
    assert message in capsys.readouterr().err


def test_an_idle_machine_is_predicted_as_it_was_measured() -> None:
    alone = machine({1: 10.0, 4: 10.0}, {1: [0.1, 0.2], 4: [9.0]}, audio=[0.001])
    arrivals = poisson_arrivals(0.1, 400, seed=1)
    assert planner_check.predicted(alone, arrivals) == pytest.approx(0.195, abs=0.002)


def test_a_busier_machine_is_predicted_later() -> None:
    busy = machine({1: 4.0, 8: 8.0})
    assert planner_check.most_requests(busy) == pytest.approx(2.0)
    p95 = [
        planner_check.predicted(busy, poisson_arrivals(rate, 200, seed=1)) for rate in (0.2, 1.6)
    ]
    assert p95[0] < p95[1]


def test_the_error_is_of_what_was_measured() -> None:
    compared = planner_check.Compared(load=0.5, rate=2.0, measured=0.2, predicted=0.25)
    assert compared.error == pytest.approx(0.25)
    assert "measured 200 ms, predicted 250 ms (+25%)" in str(compared)


def test_a_manifest_that_is_none_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "said.jsonl"
    manifest.write_text("{")
    words = ("--kind", "x", "--json", str(tmp_path / "x.json"), "--manifest", str(manifest))
    assert capacity.main(words) == 1
    assert "error: " in capsys.readouterr().err
