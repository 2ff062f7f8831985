"""Metrics, log lines and traces of the real server."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from metrics_scrape import PROMTOOL, Scrape, promtool, text_of
from serving import SENTENCE, SHORT
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone.synthesis.flaws import KINDS
from tritone.synthesis.timing import PARTS
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server
REQUESTS = 20
# What promtool minds in Triton's own metrics and not in ours: counters not called _total.
ACCEPTED = "nv_"


@dataclass(frozen=True)
class Spoken:
    """Before and after some requests: two scrapes, the records, and the log's lines."""

    before: Scrape
    after: Scrape
    records: list[dict]
    lines: list[dict]

    def grown(self, name: str, **labels: str) -> float:
        return self.after.of(name, **labels) - self.before.of(name, **labels)


def log_lines(server: TritonServer) -> list[dict]:
    lines = server.settings.log_path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"event": "speech"')]


def settled(server: TritonServer, requests: float) -> Scrape:
    """A scrape once so many requests have been counted: that is done after the last response."""

    def scrape() -> Scrape | None:
        found = Scrape(text_of(server.urls.metrics))
        ended = sum(found.of("tritone_requests_total", outcome=o) for o in ("ok", "refused"))
        return found if ended >= requests else None

    return wait_until(scrape)


@pytest.fixture(scope="module")
def spoken(server: TritonServer, client: SpeechClient) -> Spoken:
    """20 utterances, two at a time, and one that is refused."""

    def speak(number: int) -> dict:
        utterance = Utterance(SENTENCE if number % 4 == 0 else SHORT, seed=number)
        packets = client.packets(utterance, timing=True, request_id=f"request-{number}")
        return list(packets)[-1].timing

    # what came before is counted, as a request is counted after its last response
    list(client.packets(Utterance(SHORT), request_id="before"))
    wait_until(lambda: any(line["id"] == "before" for line in log_lines(server)))
    before, lines = settled(server, 0), len(log_lines(server))
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(speak, range(REQUESTS)))
    with pytest.raises(SpeechError, match="nobody"):
        client.speak(Utterance(SHORT, voice="nobody"))
    counted = sum(before.of("tritone_requests_total", outcome=o) for o in ("ok", "refused"))
    after = settled(server, counted + REQUESTS + 1)
    return Spoken(before, after, records, log_lines(server)[lines:])


def test_a_scrape_shows_every_request(spoken: Spoken) -> None:
    assert spoken.grown("tritone_requests_total", outcome="ok") == REQUESTS
    assert spoken.grown("tritone_requests_total", outcome="refused") == 1
    for outcome in ("cancelled", "failed", "overloaded"):
        assert spoken.grown("tritone_requests_total", outcome=outcome) == 0
    for name in ("first_packet_seconds", "request_seconds", "rtf"):
        assert spoken.grown(f"tritone_{name}_count") == REQUESTS
        assert spoken.grown(f"tritone_{name}_bucket", le="+Inf") == REQUESTS
    for part in PARTS:
        assert spoken.grown("tritone_part_seconds_count", part=part) == REQUESTS


def test_sums_are_those_of_the_records(spoken: Spoken) -> None:
    records = spoken.records

    def total(name: str) -> float:
        return sum(record[name] for record in records)

    for metric, name in (
        ("audio_seconds_total", "audio_s"),
        ("speech_tokens_total", "tokens"),
        ("packets_total", "packets"),
        ("first_packet_seconds_sum", "first_packet_s"),
        ("request_seconds_sum", "total_s"),
    ):
        assert spoken.grown(f"tritone_{metric}") == pytest.approx(total(name), abs=1e-2)
    gaps = spoken.grown("tritone_packet_gap_seconds_count")
    assert gaps == total("packets") - REQUESTS
    for kind in KINDS:
        found = sum(record["flaws"].get(kind, 0) for record in records)
        assert spoken.grown("tritone_flaws_total", kind=kind) == found
    below = sum(record["first_packet_s"] <= 0.5 for record in records)
    assert spoken.grown("tritone_first_packet_seconds_bucket", le="0.5") == below


def test_the_parts_of_each_record_add_up(spoken: Spoken) -> None:
    """What a machine that stands still takes between two parts is in none: the clock of
    test_timing.py shows that they leave out nothing else."""
    rounding = len(PARTS) * 1e-4
    for record in spoken.records:
        parts = sum(record["parts_s"].values())
        assert 0 < parts < record["total_s"] + rounding
    in_metrics = sum(spoken.grown("tritone_part_seconds_sum", part=part) for part in PARTS)
    in_records = sum(sum(record["parts_s"].values()) for record in spoken.records)
    totals = sum(record["total_s"] for record in spoken.records)
    assert in_records - rounding * REQUESTS < in_metrics < 2 * totals  # the last send is in it too


def test_one_line_of_the_log_for_each_request_under_its_id(spoken: Spoken) -> None:
    lines = {line["id"]: line for line in spoken.lines}
    for number, record in enumerate(spoken.records):
        line = lines[f"request-{number}"]
        assert record["id"] == line["id"] and line["outcome"] == "ok"
        for name in ("tokens", "packets", "audio_s", "total_s", "first_packet_s", "voice_cached"):
            assert line[name] == record[name]
        assert "notes" not in line  # they may hold words of the text
    (refused,) = [line for line in spoken.lines if "nobody" in line.get("error", "")]
    assert refused["outcome"] == "refused" and refused["packets"] == 0


def test_a_voice_is_a_hit_the_second_time(spoken: Spoken) -> None:
    hits = spoken.grown("tritone_voice_cache_total", result="hit")
    misses = spoken.grown("tritone_voice_cache_total", result="miss")
    assert hits + misses == REQUESTS
    assert hits == sum(record["voice_cached"] for record in spoken.records) >= REQUESTS - 2


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is missing")
def test_promtool_takes_the_scrape(spoken: Spoken) -> None:
    done = promtool("check", "metrics", text=spoken.after.text)
    said = (done.stdout + done.stderr).splitlines()
    ours = [line for line in said if line and not line.startswith(ACCEPTED)]
    assert not ours


def test_the_command_shows_where_the_time_went(server: TritonServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tritone_client.say", SHORT, "--url", server.urls.grpc]
    command += ["-o", str(tmp_path / "a.wav"), "--request-id", "mine", "--timing", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANG_S)
    record = json.loads(done.stdout)["server"]
    assert record["id"] == "mine" and record["outcome"] == "ok"
    assert "request mine, ms: queue " in done.stderr
    for part in PARTS:
        assert f"{part} " in done.stderr
