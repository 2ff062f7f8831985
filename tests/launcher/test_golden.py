"""The sentence that a server must speak well before it is called ready."""

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damaged_voice import (
    FLOW,
    LANGUAGE_MODEL,
    VOCODER,
    Change,
    damaged,
    random_head,
    scaled,
    shuffled,
)
from paths import EMBEDDED

from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.arrays import Float32
from tritone.cli.golden import golden as keep
from tritone.cli.golden import spoken_by
from tritone.errors import EnvironmentProblem, ModelDirectoryError, StageFailed
from tritone.launcher.golden import GOLDEN_NAME, Golden, Sample, Spoken, faults, stored
from tritone.llm.slots.opening import open_onnx
from tritone.local.tts import TTS, LocalStages
from tritone.synthesis.limits import Limits
from tritone.synthesis.pipeline import Settings

GOLDEN = stored(EMBEDDED)
RATE = 8000


@pytest.fixture(scope="module")
def sound() -> Iterator[LocalStages]:
    stages = LocalStages(EMBEDDED, Limits())
    yield stages
    stages.llm.close()


def examine(stages: LocalStages, model: Path = EMBEDDED) -> None:
    """As a server does it."""
    sample, tts = Sample.of(EMBEDDED, None), TTS(stages, Settings())
    assert sample is not None and sample.golden == GOLDEN
    replace(sample, model_dir=model).examine(lambda *asked: spoken_by(tts, *asked))


def test_the_embedded_voice_sounds_as_it_is_stored(sound: LocalStages) -> None:
    """In another precision too: the last bits of a machine are less than that."""
    examine(sound)
    coarse, model = copy(sound), sound.model
    settings = FlowSettings(dtype=torch.bfloat16)
    coarse.flow = model.family.load_flow(EMBEDDED, model.config, settings)
    examine(coarse)


def test_other_ways_to_say_it_are_within_the_tolerances(sound: LocalStages) -> None:
    assert GOLDEN is not None
    tts = TTS(sound, Settings())
    for top_k in (2, 5, 25):
        assert not faults(GOLDEN.text, spoken_by(tts, GOLDEN.text, GOLDEN.voice, top_k), GOLDEN)
    other = spoken_by(tts, "We like the old house.", GOLDEN.voice)
    assert "likeness" in [fault.check for fault in faults(GOLDEN.text, other, GOLDEN)]
    flawed = replace(spoken_by(tts, GOLDEN.text, GOLDEN.voice), flaws={"leap": 2, "stuck": 1})
    found = list(map(str, faults(GOLDEN.text, flawed, GOLDEN)))
    assert found == ["flaws is 2 leap, 1 stuck, expected none"]


def refusal(stages: LocalStages, model: Path) -> str:
    with pytest.raises(ModelDirectoryError) as raised:
        examine(stages, model)
    message = str(raised.value)
    assert message.startswith("golden sample, 'Fresh bread is sold at noon.' in the voice heart: ")
    assert f"tritone doctor --only model --model {model};" in message and "--no-golden" in message
    return message


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (scaled("conv_post.weight", 0), "silence is -8"),
        (scaled("conv_post.weight", 3), "level is -"),
        (scaled("stages.1.up.weight", 0), "level is -"),
        (scaled("conv_pre.weight", 1e38), "vocoder: gave samples that are not f"),
    ],
)
def test_a_damaged_vocoder_is_refused(
    tmp_path: Path, sound: LocalStages, change: Change, check: str
) -> None:
    model, broken = damaged(tmp_path, VOCODER, change), copy(sound)
    opened = sound.model
    broken.vocoder = opened.family.load_vocoder(model, opened.config, VocoderSettings())
    message = refusal(broken, model)
    assert f"heart: {check}" in message
    likely = "flow or vocoder" if " is " in check else "the stage that the error names"
    assert f"Likely {likely}: damaged weights" in message


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (shuffled(1), "spectrum is "),
        (shuffled(10), "silence is "),
        (scaled("estimator.up_conv.weight", 1e38), "token2wav: gave frames that are not fin"),
    ],
)
def test_a_damaged_flow_is_refused(
    tmp_path: Path, sound: LocalStages, change: Change, check: str
) -> None:
    model, broken = damaged(tmp_path, FLOW, change), copy(sound)
    broken.flow = sound.model.family.load_flow(model, sound.model.config, FlowSettings())
    message = refusal(broken, model)
    assert check in message


def test_a_language_model_with_a_random_head_is_refused(tmp_path: Path, sound: LocalStages) -> None:
    model, broken = damaged(tmp_path, LANGUAGE_MODEL, random_head), copy(sound)
    broken.llm = open_onnx(model, sound.model.language_model)
    try:
        message = refusal(broken, model)
    finally:
        broken.llm.close()
    assert "likeness is " in message and "flaws is " in message
    assert "Likely the language model, or the flow: damaged weights" in message


# Without what is stored


def tone(seconds: float, level: float) -> Float32:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


@pytest.mark.parametrize(
    ("wave", "checks"),
    [
        (tone(0.6, 0.2), []),
        (np.append(tone(0.6, 0.2), np.float32(np.nan)), ["finite"]),
        (np.append(tone(0.6, 0.2), np.float32(np.inf)), ["finite"]),
        (tone(0.6, 1e-3), ["silence"]),
        (tone(0.6, 0.9), ["level"]),
        (tone(0.1, 0.2), ["duration"]),
        (tone(8, 0.2), ["duration"]),
        (tone(8, 0.0), ["silence", "duration"]),
        (np.zeros(0, np.float32), ["silence", "duration"]),
    ],
)
def test_what_holds_for_all_speech_is_checked_without_it(wave: Float32, checks: list[str]) -> None:
    sample = Sample(Path("model"), "Hello.", "ann", None)
    asked = []

    def speak(text: str, voice: str, top_k: int | None) -> Spoken:
        asked.append((text, voice, top_k))
        return Spoken(wave, RATE, {"leap": 1})

    assert [fault.check for fault in faults("Hello.", speak("", "", 0), None)] == checks
    if checks:
        with pytest.raises(ModelDirectoryError, match=f"{checks[0]} is "):
            sample.examine(speak)
    else:
        sample.examine(speak)
    assert asked[-1] == ("Hello.", "ann", None), "as the checkpoint samples"


def test_a_word_in_the_default_voice_where_nothing_is_stored(tmp_path: Path) -> None:
    assert Sample.of(tmp_path, "ann") == Sample(tmp_path, "Hello.", "ann", None)
    assert Sample.of(tmp_path, None) is None, "nobody can speak"


def test_what_fails_is_refused_and_no_server_is_no_fault_of_the_model() -> None:
    def failing(*_: object) -> Spoken:
        raise error

    sample = Sample(Path("model"), "Hello.", "ann", None)
    error: Exception = StageFailed("cosyvoice2", "INTERNAL: vocoder: gave samples that")
    with pytest.raises(
        ModelDirectoryError, match="in the voice ann: cosyvoice2: INTERNAL: vocoder"
    ):
        sample.examine(failing)
    error = EnvironmentProblem("UNAVAILABLE: no server")
    with pytest.raises(EnvironmentProblem, match="UNAVAILABLE"):
        sample.examine(failing)


# Keeping it


def test_the_command_keeps_what_the_embedded_voice_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = damaged(tmp_path, VOCODER, lambda weights: None)
    (model / GOLDEN_NAME).unlink()
    assert keep(model) == 0
    assert (
        "golden.json: 'Fresh bread is sold at noon.' in the voice heart" in capsys.readouterr().out
    )
    made = stored(model)
    assert made is not None and GOLDEN is not None
    assert made.sketch.likeness(GOLDEN.sketch) > 0.9 and made.voice == GOLDEN.voice


def test_flawed_speech_is_not_kept() -> None:
    for wave, flaws, why in (
        (tone(1.5, 1e-4), {}, "silence is -"),
        (tone(1.5, 0.2), {"leap": 1}, "flaws is 1 leap, expected none"),
    ):
        with pytest.raises(ModelDirectoryError, match=f"'Say it.' is no golden sample: {why}"):
            Golden.of("Say it.", "ann", Spoken(wave, RATE, flaws))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seconds": "long"}, "seconds: "),
        ({"tempo": 1}, "tempo: "),
        ({"level_dbfs": float("nan")}, "level_dbfs: "),
        ({"bands_db": [0.0]}, "bands_db: "),
        ({"course_db": [[0.0] * 16] * 15}, "course_db: "),
        ({"course_db": [[0.0] * 3] * 16}, r"course_db\.0: "),
    ],
)
def test_a_file_that_is_wrong_is_named(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    content = json.loads((EMBEDDED / GOLDEN_NAME).read_text())
    (tmp_path / GOLDEN_NAME).write_text(json.dumps({**content, **changes}))
    with pytest.raises(ModelDirectoryError, match=rf"golden\.json: {problem}.*tritone golden "):
        stored(tmp_path)
