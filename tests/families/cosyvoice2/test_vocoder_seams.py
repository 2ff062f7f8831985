"""Seams of the embedded voice: streamed audio against one-shot audio of the same mel."""

from collections.abc import Iterator

import numpy as np
import pytest
from paths import EMBEDDED

from evaluation.seams import SeamReport, measure, seams_of
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.llm.contract import GenerationRequest, SamplingParams
from tritone.local.stages import LocalStages
from tritone.synthesis.limits import Limits
from tritone.synthesis.values import SynthesisRequest

TEXTS = (
    "Hello there, how are you?",
    "The train leaves at nine.",
    "Please close the door!",
    "It was a bright cold day.",
    "Never mind.",
    "She sells sea shells.",
    "What time is it now?",
    "A quick brown fox jumps.",
)
RATE = 24000
# Measured over these texts: at most -81 dB, 0.007 dB and 1.0003.
ERROR_DB, LEVEL_DB, CLICK = -60.0, 0.05, 1.02


@pytest.fixture(scope="module")
def stages() -> Iterator[LocalStages]:
    loaded = LocalStages(EMBEDDED, Limits())
    yield loaded
    loaded.llm.close()


@pytest.fixture(scope="module")
def mels(stages: LocalStages) -> list[Float32]:
    return [_speak(stages, text, seed) for seed, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def one_shots(stages: LocalStages, mels: list[Float32]) -> list[Float32]:
    return [_one_shot(stages.vocoder, mel) for mel in mels]


def _speak(stages: LocalStages, text: str, seed: int) -> Float32:
    segment = next(iter(stages.prepare(SynthesisRequest(text))))
    request = GenerationRequest(segment.input_ids, 20, 100, SamplingParams(seed=seed))
    ids = np.concatenate(list(stages.generate(request)))
    flow = stages.open_flow(segment.voice, streaming=True)
    return flow.step(ids - np.int32(stages.config.llm.speech_offset), finalize=True)


def _parts(mel: Float32, size: int) -> list[Float32]:
    return [mel[:, begin : begin + size] for begin in range(0, mel.shape[1], size)]


def _one_shot(vocoder: VocoderStage, mel: Float32) -> Float32:
    return vocoder.step(mel, vocoder.start(seed=1, speed=1.0), finalize=True)[0]


def _streamed(vocoder: VocoderStage, mel: Float32, size: int) -> list[Float32]:
    state, waves, parts = vocoder.start(seed=1, speed=1.0), [], _parts(mel, size)
    for index, part in enumerate(parts):
        wave, state = vocoder.step(part, state, finalize=index == len(parts) - 1)
        waves.append(wave)
    return waves


def _compare(waves: list[Float32], one_shot: Float32) -> SeamReport:
    return measure(np.concatenate(waves), one_shot, seams_of(waves), RATE)


@pytest.mark.parametrize("size", [10, 50])
def test_seams_are_below_hearing(
    stages: LocalStages, mels: list[Float32], one_shots: list[Float32], size: int
) -> None:
    for text, mel, one_shot in zip(TEXTS, mels, one_shots, strict=True):
        report = _compare(_streamed(stages.vocoder, mel, size), one_shot)
        assert report.seams >= (mel.shape[1] - 8) // size - 1
        assert report.error_db < ERROR_DB, (text, report)
        assert report.level_db < LEVEL_DB, (text, report)
        assert report.click < CLICK, (text, report)


def test_chunks_of_their_own_are_heard(
    stages: LocalStages, mels: list[Float32], one_shots: list[Float32]
) -> None:
    """The measures do find what they are for: a vocoder that starts anew with each chunk."""
    reports = []
    for mel, one_shot in zip(mels, one_shots, strict=True):
        waves = [_one_shot(stages.vocoder, part) for part in _parts(mel, 30)]
        reports.append(_compare(waves, one_shot))
    assert min(report.error_db for report in reports) > ERROR_DB + 20
    assert min(report.level_db for report in reports) > 10 * LEVEL_DB


def test_a_step_in_the_waveform_is_a_click(one_shots: list[Float32]) -> None:
    size, clicks = 30 * 480, []
    for one_shot in one_shots:
        parts = np.split(one_shot, range(size, len(one_shot), size))
        waves = [part * (-1) ** index for index, part in enumerate(parts)]
        clicks.append(_compare(waves, one_shot).click)
    assert np.median(clicks) > 2  # one that falls into a pause is none
