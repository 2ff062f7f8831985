"""The doctor's judgement of what a running server says."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_server import free_ports

from tritone.cli import server_speech
from tritone.cli.server_speech import Spoken, bad_sound, judge_pace
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.target import Target
from tritone_client import StreamMetrics

pytestmark = pytest.mark.slow


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(cache_dir=tmp_path, **free_ports())


def spoken(samples: np.ndarray, first_s: float = 0.2, rtf: float = 0.2) -> Spoken:
    seconds = samples.size / 24000
    metrics = StreamMetrics(first_s, first_s, rtf * seconds, seconds, rtf, 3, (), 0, 0.0)
    return Spoken(samples.astype(np.float32), metrics)


def tone(seconds: float, amplitude: float = 0.1) -> np.ndarray:
    return amplitude * np.sin(np.arange(round(24000 * seconds)) * 2 * math.pi * 200 / 24000)


class TestSound:
    @pytest.mark.parametrize(
        "samples, words",
        [
            (np.zeros(0), "no audio arrived"),
            (np.zeros(48000), "silence"),
            (np.random.default_rng(0).choice([-1.0, 1.0], 48000), "noise at full scale"),
            (np.where(np.arange(48000) < 3, np.nan, 0.1), "3 of 48000 samples are not finite"),
            (tone(0.3), "0.3 s of audio for a sentence"),
            (tone(12.0), "12.0 s of audio for a sentence"),
        ],
    )
    def test_what_is_no_speech(self, samples, words):
        found = bad_sound(spoken(samples))
        assert found is not None
        assert words in found.text
        assert "--only model" in found.fix

    def test_what_may_be_speech(self):
        assert bad_sound(spoken(tone(2.0))) is None

    @pytest.mark.parametrize(
        "first_s, rtf, others, expected_s, status, words",
        [
            (0.2, 0.2, 0, 0.2, Status.PASS, "should give 0.20 s just now"),
            (0.2, 0.2, 0, None, Status.PASS, "real time"),
            (0.9, 0.5, 0, 0.2, Status.WARN, "4.5 times as long"),
            (0.9, 0.5, 0, 0.4, Status.PASS, "should give 0.40 s"),
            (1.5, 0.5, 0, None, Status.WARN, "not real time"),
            (0.3, 1.2, 0, 0.2, Status.WARN, "not real time"),
            (3.0, 1.2, 4, 0.2, Status.PASS, "not judged: 4 other streams"),
        ],
    )
    def test_pace(self, first_s, rtf, others, expected_s, status, words):
        found = judge_pace(spoken(tone(2.0), first_s, rtf), others, expected_s)
        assert found.status is status
        assert words in found.text


def test_no_client(target: Target, monkeypatch):
    monkeypatch.setitem(sys.modules, "tritone_client", None)
    found = server_speech.speech.run(target)
    assert found.status is Status.SKIP
    assert "pip install -e '.[client]'" in found.text


@pytest.mark.parametrize("proxy, where", [("", "ports.grpc"), ("http://p:1", "offline.proxies")])
def test_no_grpc_service(target: Target, monkeypatch, proxy, where):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    found = server_speech.speech.run(target)
    assert found.status is Status.FAIL
    assert "UNAVAILABLE" in found.text
    assert where in found.fix
