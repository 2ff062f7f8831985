"""tritone plan, from files to what it says."""

import json
import sys
from pathlib import Path

import pytest
from measured_machine import figures

from tritone import cli
from tritone.cli.plan import MISSING, seconds
from tritone.errors import InvalidRequest


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    pytest.importorskip("simpy")
    file = tmp_path / "small.json"
    file.write_text(json.dumps(figures({1: 4.0, 2: 6.0, 4: 8.0, 8: 8.0})))
    return file


def planned(bench: Path, *words: str) -> int:
    usual = ("--first-packet", "250ms", "--speeches", "300")
    return cli.main(["plan", "--bench", str(bench), *usual, *words])


def test_a_plan_is_told(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(bench, "--streams", "20", "--price", "small=0.5", "--spare", "1") == 0
    said = capsys.readouterr().out
    assert planned(bench, "--streams", "20", "--price", "small=0.5", "--spare", "1", "--json") == 0
    (plan,) = json.loads(capsys.readouterr().out)
    head, first, use, *rest = said.splitlines()
    assert head == f"small: machines {plan['machines']}, of 5 streams each"
    assert f"first packet {1000 * plan['first_packet_s']:.0f} ms (95% of" in first
    assert f"headroom {plan['headroom']:.0%} more speech, processors {plan['cores']:.0%}" in use
    assert rest[-1] == f"  {plan['price_an_hour']:.2f} an hour"
    assert plan["price_an_hour"] == pytest.approx(0.5 * plan["machines"])
    assert plan["kept"] and plan["refused"] <= 0.001


def test_each_kind_has_its_plan(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.json"
    large.write_text(json.dumps(figures({1: 40.0, 32: 90.0}, {32: [0.2]}, kind="large")))
    assert planned(bench, "--bench", str(large), "--streams", "100", "--json") == 0
    small, big = json.loads(capsys.readouterr().out)
    assert (small["kind"], big["kind"]) == ("small", "large")
    assert small["machines"] > big["machines"]


def test_a_day_with_a_rush_and_failures(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "day.csv"
    rows = [f"{n if n < 200 else 200 + (n - 200) / 4},4" for n in range(1, 600)]
    trace.write_text("\n".join(["arrival_s,audio_s", *rows]))
    words = ("--trace", str(trace), "--autoscale", "1:9", "--start-delay", "30s")
    assert planned(bench, *words, "--fail-every", "2min", "--repair", "30s") == 1
    said = capsys.readouterr().out
    assert "WHICH DO NOT KEEP THE PROMISE" in said
    assert "failures broke" in said and "machines on average, at most" in said


BAD = {
    "--streams": ("--streams 0", "--streams: is 0; it must be above 0"),
    "both": ("--streams 5 --rate 2", "--streams: give one of it, --rate and --trace"),
    "neither": ("", "--streams: give one of it, --rate and --trace"),
    "--rate": ("--rate nan", "--rate: is nan"),
    "--first-packet": ("--rate 2 --first-packet soon", "--first-packet: soon; a time is needed"),
    "too fast": ("--rate 2 --first-packet 1ms", "small: with one stream"),
    "--share": ("--rate 2 --share 1", "--share: is 1"),
    "--refused": ("--rate 2 --refused -1", "--refused: is -1"),
    "--reserve": ("--rate 2 --reserve inf", "--reserve: is inf"),
    "--speeches": ("--rate 2 --speeches 5", "--speeches: is 5"),
    "--spare": ("--rate 2 --spare -1", "--spare: is -1"),
    "--repair": ("--rate 2 --repair 1min", "--fail-every: it and --repair belong together"),
    "--autoscale": ("--rate 2 --autoscale 5:2", "--autoscale: 5:2; LEAST:MOST"),
    "--price": ("--rate 2 --price other=1", "--price: other=1; the machines are small"),
    "price": ("--rate 2 --price small=much", "--price: small=much; 'much' is no number"),
    "--bench": ("--rate 2 --bench nowhere.json", "nowhere.json: No such file"),
    "--trace": ("--trace nowhere.csv", "nowhere.csv"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_is_refused_by_name(
    fault: str, bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = BAD[fault]
    assert planned(bench, *words.split()) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_without_its_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tritone.cli.plan.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "simpy", None)
    assert planned(tmp_path / "any.json", "--rate", "2") == 2
    assert MISSING in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"), [("300ms", 0.3), ("0.3s", 0.3), ("2", 2), ("1.5 min", 90), ("1h", 3600)]
)
def test_times_are_read(text: str, value: float) -> None:
    assert seconds("waiting", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1s", "0", "1 day", "1e3", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--waiting"):
        seconds("waiting", text)
