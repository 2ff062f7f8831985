"""The benchmark without a server: loads, statistics, the command's refusals."""

import asyncio
import json

import numpy as np
import pytest
from serving import RATE
from waiting import HANG_S, Clock

from tritone_client import SpeechError, StreamMeter, StreamMetrics
from tritone_client.bench import main
from tritone_client.load import (
    Level,
    Sample,
    closed_loop,
    counted_from,
    open_loop,
    poisson_arrivals,
)
from tritone_client.summary import Spread, plot, spread, summarize, table


def metrics(first: float = 0.2, total: float = 1.0, audio: float = 2.0, **more) -> StreamMetrics:
    given = {"gaps_s": (), "underruns": 0, "underrun_s": 0.0, **more}
    return StreamMetrics(first, first + 0.1, total, audio, total / audio, 1, **given)


def level(*samples: Sample, value: float = 2) -> Level:
    return Level("concurrency", value, samples=list(samples))


class TestLoad:
    def test_arrivals_are_a_seeded_poisson_process(self):
        arrivals = np.array(poisson_arrivals(4.0, 4000, seed=1))
        gaps = np.diff(arrivals, prepend=0.0)
        assert gaps.min() > 0
        assert gaps.mean() == pytest.approx(1 / 4, rel=0.05)
        assert gaps.std() == pytest.approx(1 / 4, rel=0.05)  # of an exponential, equal to its mean
        assert poisson_arrivals(4.0, 4000, seed=1) == tuple(arrivals)
        assert poisson_arrivals(4.0, 10, seed=2) != tuple(arrivals[:10])
        np.testing.assert_allclose(poisson_arrivals(8.0, 4000, seed=1), arrivals / 2)

    def test_a_closed_loop_keeps_its_streams_going(self):
        asked = []

        async def speak(number):
            asked.append(number)
            for _ in range(number % 3):  # they end in another order
                await asyncio.sleep(0)
            return metrics(), None

        running = Level("concurrency", 3)
        asyncio.run(closed_loop(running, speak, 10, 3))
        assert asked == list(range(10))
        assert sorted(sample.number for sample in running.samples) == list(range(10))
        assert running.most_in_flight == 3
        assert {sample.late_s for sample in running.samples} == {0.0}

    def test_an_open_loop_does_not_wait_for_answers(self):
        """The first answers come when the last request has been sent."""

        async def run() -> None:
            all_sent = asyncio.Event()

            async def speak(number):
                if number == 2:
                    all_sent.set()
                await asyncio.wait_for(all_sent.wait(), HANG_S)
                return metrics(), None

            await open_loop(running, speak, (0.0, 0.02, 0.04))

        running = Level("rate", 100.0)
        asyncio.run(run())
        assert running.most_in_flight == 3
        assert [sample.due_s for sample in running.samples] == [0.0, 0.02, 0.04]

    def test_what_the_client_held_back_counts_as_latency(self):
        clock = Clock()

        async def speak(number):
            if number == 0:
                clock.move(0.2)  # a client that is too busy to send
            return metrics(first=0.1), None

        running = Level("rate", 10.0, clock=clock)
        asyncio.run(open_loop(running, speak, (0.0, 0.05)))
        late = running.samples[1]
        assert late.number == 1
        assert late.late_s == pytest.approx(0.15)
        assert late.metrics.first_packet_s == pytest.approx(0.1 + 0.15)
        assert late.metrics.total_s == pytest.approx(1.0 + 0.15)

    @pytest.mark.parametrize("loop", ["closed", "open"])
    def test_a_level_begins_with_its_loop(self, loop):
        """Whenever it was made: what went before is not of it."""

        async def speak(number):
            return metrics(total=1.0), None

        clock = Clock()
        running = Level("rate", 10.0, clock=clock)
        clock.move(20.0)
        runs = {
            "closed": lambda: closed_loop(running, speak, 1, 1),
            "open": lambda: open_loop(running, speak, (0.0,)),
        }
        asyncio.run(runs[loop]())
        assert (running.samples[0].late_s, running.samples[0].end_s) == (0.0, 1.0)

    def test_times_move_and_playback_does_not(self):
        moved = counted_from(metrics(underruns=2, underrun_s=0.3, gaps_s=(0.1,)), 0.5)
        assert moved.first_packet_s == pytest.approx(0.7)
        assert moved.first_audible_s == pytest.approx(0.8)
        assert (moved.total_s, moved.rtf, moved.audio_s) == (1.5, 0.75, 2.0)
        assert (moved.gaps_s, moved.underruns, moved.underrun_s) == ((0.1,), 2, 0.3)
        silent = StreamMetrics(None, None, 1.0, 0.0, None, 0, (), 0, 0.0)
        assert counted_from(silent, 0.5).total_s == 1.5
        assert counted_from(silent, 0.5).first_packet_s is None


class TestSummary:
    def test_percentiles_interpolate(self):
        found = spread([None, *(float(value) for value in range(101))])
        assert found == Spread(50.0, 50.0, 90.0, 95.0, 99.0, 0.0, 100.0)
        assert spread([1.0, 2.0]).p90 == pytest.approx(1.9)
        assert spread([None]) is None

    def test_a_level_by_hand(self):
        error = SpeechError("UNAVAILABLE", "gone")
        summary = summarize(
            level(
                Sample(0, 0.0, 0.0, metrics(0.1, 1.0, 2.0)),
                Sample(1, 0.0, 0.0, metrics(0.3, 2.5, 3.0, underruns=2, underrun_s=0.5)),
                Sample(2, 1.0, 0.0, metrics(9.0, 3.0, 7.0, underruns=1), error),
            )
        )
        assert (summary.requests, summary.completed) == (3, 2)
        assert summary.errors == {"UNAVAILABLE": 1}
        assert summary.first_error == "UNAVAILABLE: gone"
        assert summary.wall_s == 4.0  # the failed request kept the server busy until then
        assert summary.audio_s == 5.0
        assert (summary.rtf, summary.throughput) == (0.8, 1.25)
        assert (summary.underruns, summary.underrun_s, summary.real_time_streams) == (2, 0.5, 1)
        assert summary.first_packet_s.max == 0.3
        assert summary.first_audible_s.avg == pytest.approx(0.3)
        assert summary.request_rtf.min == 0.5
        assert summary.gaps_s is None

    def test_playback_of_a_stream_by_hand(self):
        """100 ms of sound arrive at 0.5 s and at 0.8 s: 0.2 s of silence in between."""
        times = iter([10.0, 10.5, 10.8, 10.9])
        meter = StreamMeter(RATE, clock=lambda: next(times))
        sound = np.zeros(RATE // 10, np.float32)
        sound[RATE // 20 :] = 0.5
        meter.packet(sound)
        meter.packet(sound)
        heard = meter.finish()
        summary = summarize(level(Sample(0, 0.0, 0.0, heard)))
        assert summary.first_packet_s.p50 == pytest.approx(0.5)
        assert summary.first_audible_s.p50 == pytest.approx(0.55)
        assert (summary.underruns, summary.real_time_streams) == (1, 0)
        assert summary.underrun_s == pytest.approx(0.2)
        assert summary.gaps_s.p99 == pytest.approx(0.3)
        assert summary.request_rtf.avg == pytest.approx(0.9 / 0.2)

    def test_table_and_json_of_good_and_failed_levels(self):
        failed = Sample(0, 0.0, 0.0, metrics(), SpeechError("INTERNAL", "broken"))
        summaries = [
            summarize(level(Sample(0, 0.0, 0.0, metrics(0.25, 1.0, 2.0)))),
            summarize(level(failed, value=4)),
        ]
        head, rule, good, bad = table(summaries).splitlines()
        assert len({len(line) for line in (head, rule, good, bad)}) == 1
        cells = [cell.strip() for cell in good.split("|")[1:-1]]
        assert cells == [
            *("2 at once", "1/1", "250/250/250", "350/350", "1.00/1.00", "-"),
            *("0.500", "2.00", "0 (0.00 s)", "1/1"),
        ]
        assert [cell.strip() for cell in bad.split("|")[1:4]] == ["4 at once", "0/1", "-"]
        plain = json.loads(json.dumps([summary.as_dict() for summary in summaries]))
        assert plain[0]["first_packet_s"]["p99"] == 0.25
        assert plain[1]["rtf"] is None


class TestCommand:
    @pytest.mark.parametrize(
        "arguments, words",
        [
            ([], "one of the arguments --manifest --text is required"),
            (["--text", "a", "--rate", "1", "--concurrency", "1"], "not allowed with"),
            (["--text", "a", "--concurrency", "1,x"], "whole numbers above 0 are needed"),
            (["--text", "a", "--concurrency", "0"], "whole numbers above 0 are needed"),
            (["--text", "a", "--rate", "nan"], "numbers above 0 are needed"),
            (["--text", "a", "--concurrency", "8", "--requests", "4"], "cannot keep 8 streams"),
            (["--text", "a", "--warmup", "-1"], "--warmup must be at least 0"),
            (["--text", "a", "--seed", "-1"], "--seed is -1"),
            (
                ["--text", "a", "--json", "/nowhere/x.json"],
                "must be a file in a folder that exists",
            ),
            (["--text", "a", "--plot", "x.mp3"], "suffix must be .png"),
            (["--manifest", "/nowhere/m.lst"], "/nowhere/m.lst cannot be read"),
        ],
    )
    def test_usage_errors_are_plain(self, capsys, arguments, words):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err

    def test_a_plot_needs_matplotlib_before_the_measurement(self, capsys, monkeypatch):
        monkeypatch.setattr("tritone_client.bench.find_spec", lambda name: None)
        with pytest.raises(SystemExit):
            main(["--text", "a", "--plot", "x.png"])
        assert "pip install 'matplotlib" in capsys.readouterr().err

    def test_help_has_the_definitions(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main(["--help"])
        assert caught.value.code == 0
        told = capsys.readouterr().out
        assert "coordinated omission" in told and "wall / sum of audio seconds" in told

    def test_no_server_is_status_1_and_names_the_error(self, capsys, tmp_path):
        target = tmp_path / "bench.json"
        command = ["--url", "127.0.0.1:1", "--text", "a", "--requests", "2"]
        assert main([*command, "--timeout", str(HANG_S), "--json", str(target)]) == 1
        told = capsys.readouterr()
        assert "0/2" in told.out
        assert "concurrency 1: 2 UNAVAILABLE; the first: UNAVAILABLE: " in told.err
        (measured,) = json.loads(target.read_text())["levels"]
        assert measured["errors"] == {"UNAVAILABLE": 2}
        told = [(sample["number"], sample["id"]) for sample in measured["samples"]]
        assert told == [(0, "a"), (1, "a")]

    def test_a_plot_is_drawn(self, tmp_path):
        pytest.importorskip("matplotlib")
        error = SpeechError("INTERNAL", "broken")
        levels = [
            level(Sample(0, 0.0, 0.0, metrics()), Sample(1, 0.0, 0.0, metrics(0.4)), value=1),
            level(Sample(0, 0.0, 0.0, metrics(), error), value=2),
        ]
        plot(levels, [summarize(one) for one in levels], tmp_path / "bench.svg")
        assert "first audible sample" in (tmp_path / "bench.svg").read_text()
