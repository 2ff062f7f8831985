"""Offline inference: over fakes where something breaks, and on the embedded voice as a command."""

import json
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from fake_stages import CONFIG, RULES, SAMPLES, FakeStages, segment
from paths import EMBEDDED
from waiting import HANG_S

from tritone import cli
from tritone.errors import InvalidRequest
from tritone.local.offline.manifest import Item
from tritone.local.offline.run import RunLog
from tritone.local.offline.speak import Outcome, StageSeconds, speak_all, wave_path
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.values import SynthesisRequest

SPEECH = list(range(40))


class Stages:
    """Stages shared by all utterances: a fake one for each, found by its text."""

    def __init__(self, **fakes: FakeStages) -> None:
        self.rules, self.fakes, self.takes_open_text = RULES, fakes, True
        self.frontend = SimpleNamespace(voice_of=lambda request: None)

    def prepare(self, request):
        return self.fakes[request.text].prepare(request)

    def generate(self, request):
        return self.fakes[bytes(request.prompt.ids.astype(np.uint8)).decode()].generate(request)

    def open_flow(self, voice, *, streaming):
        return next(iter(self.fakes.values())).open_flow(voice, streaming=streaming)

    def open_vocoder(self, *, seed, speed):
        return next(iter(self.fakes.values())).open_vocoder(seed=seed, speed=speed)


def fake(text: str, **options) -> FakeStages:
    return FakeStages([segment(text)], [SPEECH], **options)


def items(*texts: str) -> list[Item]:
    requests = [SynthesisRequest(text, streaming=False) for text in texts]
    return [Item(line, r.text, r) for line, r in enumerate(requests, start=1)]


def spoken(stages: Stages, *texts: str, out: Path, batch: int = 2) -> dict[str, Outcome]:
    outcomes = list(speak_all(items(*texts), stages, Settings(), out, batch))
    assert len(outcomes) == len(texts)
    return {outcome.item.id: outcome for outcome in outcomes}


def test_a_failure_is_of_one_utterance(tmp_path: Path) -> None:
    def refuse(event: str) -> None:
        if event.startswith("prepare"):
            raise InvalidRequest("target_text", "is refused")

    def break_down(event: str) -> None:
        if event.startswith("tokens"):
            raise ZeroDivisionError("of the model")

    stages = Stages(
        good=fake("good"),
        refused=fake("refused", fail=refuse),
        broken=fake("broken", fail=break_down),
    )
    found = spoken(stages, "refused", "broken", "good", out=tmp_path)
    assert found["refused"].problem == "target_text: is refused"
    assert found["broken"].problem == "ZeroDivisionError: of the model"
    assert found["good"].problem == ""
    assert found["good"].timing["tokens"] == len(SPEECH)
    assert found["good"].audio_s == len(SPEECH) * SAMPLES / CONFIG.sample_rate
    assert [path.name for path in tmp_path.iterdir()] == ["good.wav"]
    header = soundfile.info(tmp_path / "good.wav")
    assert (header.samplerate, header.subtype) == (24000, "PCM_16")
    assert header.frames == len(SPEECH) * SAMPLES


def test_a_full_disk_ends_the_run_and_leaves_no_wave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file, data, rate, **options):
        Path(file).write_bytes(b"RIFF")
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr("tritone.local.offline.speak.soundfile.write", full)
    with pytest.raises(OSError, match=r"\.good\.wav\.part cannot be written"):
        spoken(Stages(good=fake("good")), "good", out=tmp_path)
    assert not wave_path(tmp_path, items("good")[0]).exists()


class ThreadTime(threading.local):
    """Of each thread: what it has spent."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_stages_are_measured_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, write = ThreadTime(), soundfile.write
    costs = {"prepare 0": 0.02, "tokens of 0": 0.001, "flow 0 ends": 0.06, "vocoder ends": 0.08}

    def spend(event: str) -> None:
        clock.now += costs.get(event, 0.0)

    def slow_write(*given, **options):
        clock.now += 0.04
        write(*given, **options)

    monkeypatch.setattr("tritone.local.offline.speak.time", clock)
    monkeypatch.setattr("tritone.local.offline.speak.soundfile.write", slow_write)
    seconds = spoken(Stages(one=fake("one", fail=spend)), "one", out=tmp_path)["one"].seconds
    expected = StageSeconds(text=0.02, llm=len(SPEECH) * 0.001, flow=0.06, vocoder=0.08, save=0.04)
    assert vars(seconds) == pytest.approx(vars(expected))


def test_leaving_early_stops_what_runs_and_what_waits(tmp_path: Path) -> None:
    begun = threading.Event()

    def slow(event: str) -> None:
        if event.startswith("tokens"):
            begun.set()
            time.sleep(0.05)

    long = FakeStages([segment("long")], [SPEECH * 50], fail=slow)
    stages = Stages(short=fake("short"), long=long, never=fake("never"))
    outcomes = speak_all(items("short", "long", "never"), stages, Settings(), tmp_path, 1)
    with closing(outcomes):
        assert next(outcomes).item.id == "short"
        assert begun.wait(HANG_S)
    assert stages.fakes["never"].events == []
    assert long.generations[0].cancelled and long.generations[0].given < len(SPEECH) * 50
    assert [path.name for path in tmp_path.iterdir()] == ["short.wav"]


def test_totals_have_the_names_of_the_upstream_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 14.0, 18.0])
    clock = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr("tritone.local.offline.run.time", clock)
    log = RunLog(tmp_path, {"batch": 2}, skipped=3, bad_lines=1)
    log.begin()
    good, bad = items("good", "bad")
    seconds = StageSeconds(0.1, 0.2, 0.3, 1.0, 2.0, 0.5, 0.05)
    log.add(Outcome(good, seconds, 16.0, {"tokens": 400, "total_s": 4.0, "notes": []}))
    log.add(Outcome(bad, StageSeconds(llm=0.5), problem="llm: broke"))
    assert json.loads(log.write().read_text()) == {
        "args": {"batch": 2},
        "data_load_time_seconds": 0.1,
        "speech_tokenization_time_in_collator_seconds": 0.2,
        "text_tokenization_time_in_collator_seconds": 0.3,
        "llm_time_seconds": 1.5,
        "token2wav_time_seconds": 2.5,
        "flow_time_seconds": 2.0,
        "vocoder_time_seconds": 0.5,
        "audio_save_time_seconds": 0.05,
        "total_audio_duration_seconds": 16.0,
        "pipeline_time_seconds": 8.0,
        "pipeline_rtf": 0.5,
        "utterances": {"spoken": 1, "skipped": 3, "failed": 1, "bad_lines": 1},
    }
    first, second = map(json.loads, (tmp_path / "utterances.jsonl").read_text().splitlines())
    assert (first["id"], first["line"], first["tokens"]) == ("good", 1, 400)
    assert first["stage_seconds"]["llm"] == 1.0 and "error" not in first
    assert (second["id"], second["error"], second["audio_seconds"]) == ("bad", "llm: broke", 0.0)


def arguments(manifest: Path, out: Path, *more: str) -> list[str]:
    paths = ["offline", "--model", str(EMBEDDED), "--manifest", str(manifest), "--out", str(out)]
    return [*paths, "--batch", "2", "--threads", str(torch.get_num_threads()), *more]


def test_the_command_speaks_names_bad_lines_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, out = tmp_path / "meta.lst", tmp_path / "out"
    good = ["a|||Yes.", '{"id": "b", "text": "Good morning.", "seed": 3}']
    bad = ["../c|||No.", '{"id": "d", "text": "No.", "voice": "x"}']
    manifest.write_text("\n".join([*good, *bad]))
    assert cli.main(arguments(manifest, out)) == 1
    told = capsys.readouterr()
    assert "line 3: id: '../c' cannot name a file" in told.err
    assert "line 4 (d): voice: 'x' is not registered" in told.err
    assert "2 spoken, 0 were there, 1 failed" in told.out
    assert sorted(path.name for path in out.glob("*.wav")) == ["a.wav", "b.wav"]
    assert not list(out.glob(".*"))
    totals = json.loads((out / "log.json").read_text())
    audio = sum(soundfile.info(path).duration for path in out.glob("*.wav"))
    assert totals["total_audio_duration_seconds"] == pytest.approx(audio, abs=1e-3)
    rtf = totals["pipeline_time_seconds"] / audio
    rounding = 0.0001 / audio + 0.0001  # of the time and of the factor, as they are written
    assert totals["pipeline_rtf"] == pytest.approx(rtf, abs=rounding)
    assert all(totals[name] > 0 for name in ("llm_time_seconds", "token2wav_time_seconds"))

    kept = (out / "b.wav").read_bytes()
    (out / "a.wav").rename(out / ".a.wav.part")  # as if the run had been broken off here
    manifest.write_text("\n".join(good))
    assert cli.main(arguments(manifest, out)) == 0
    assert "1 spoken, 1 were there, 0 failed" in capsys.readouterr().out
    assert (out / "b.wav").read_bytes() == kept and (out / "a.wav").is_file()
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "0"], "--batch is 0; it must be 1 to 64"),
        (["--threads", "0"], "--threads is 0"),
        pytest.param(
            ["--profile", "gpu-torch"],
            "error: device cuda was asked for",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it could start"),
        ),
        (["--temperature", "9"], "error: temperature: is 9; it must be above 0"),
        (["--manifest", "/nowhere/m"], "error: manifest: /nowhere/m cannot be read"),
    ],
)
def test_what_cannot_start_is_status_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    (tmp_path / "meta.lst").write_text("a|||Yes.")
    assert cli.main(arguments(tmp_path / "meta.lst", tmp_path / "out", *options)) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
