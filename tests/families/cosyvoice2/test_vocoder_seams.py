"""Seams of the embedded voice: streamed audio against one-shot audio of the same mel."""

import json

import numpy as np
import pytest
from paths import EMBEDDED, GOLDEN

from evaluation.seams import SeamReport, measure, seams_of
from tritone.acoustic import vocoder_stage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.families.cosyvoice2.acoustics import load_flow, load_vocoder
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.voices import VoiceStore
from tritone.llm.contract import Increment

pytestmark = pytest.mark.slow

CODES = GOLDEN / "embedded_codes.json"  # short sentences as the embedded voice spoke them
RATE = 24000
# Measured over these texts: at most -81 dB, 0.007 dB and 1.0003.
ERROR_DB, LEVEL_DB, CLICK = -60.0, 0.05, 1.02


@pytest.fixture(scope="module")
def config() -> CosyVoice2Config:
    return CosyVoice2Config.read(EMBEDDED)


@pytest.fixture(scope="module")
def vocoder(config: CosyVoice2Config) -> VocoderStage:
    return load_vocoder(EMBEDDED, config, VocoderSettings())


@pytest.fixture(scope="module")
def mels(config: CosyVoice2Config) -> dict[str, Float32]:
    """By what they say."""
    flow = load_flow(EMBEDDED, config, FlowSettings())
    voice = VoiceStore(EMBEDDED).load("heart", Voice)

    def mel(codes: list[int]) -> Float32:
        increment = Increment(np.array(codes, np.int32))
        return flow.step(increment, flow.open(voice), finalize=True)[0]

    spoken = json.loads(CODES.read_text(encoding="utf-8"))
    return {text: mel(codes) for text, codes in spoken.items()}


@pytest.fixture(scope="module")
def one_shots(vocoder: VocoderStage, mels: dict[str, Float32]) -> dict[str, Float32]:
    return {text: _one_shot(vocoder, mel) for text, mel in mels.items()}


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
    vocoder: VocoderStage, mels: dict[str, Float32], one_shots: dict[str, Float32], size: int
) -> None:
    for text, mel in mels.items():
        report = _compare(_streamed(vocoder, mel, size), one_shots[text])
        assert report.seams >= (mel.shape[1] - 8) // size - 1
        assert report.error_db < ERROR_DB, (text, report)
        assert report.level_db < LEVEL_DB, (text, report)
        assert report.click < CLICK, (text, report)


def test_a_long_utterance_is_that_of_one_pass(
    vocoder: VocoderStage, mels: dict[str, Float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through the network in parts. Measured: -57 dB over 22 s; it grows with the phase,
    whose rounding depends on the window."""
    mel = np.concatenate([*mels.values(), *mels.values()], axis=1)
    assert mel.shape[1] > 2 * vocoder_stage._LONGEST
    in_parts = _one_shot(vocoder, mel)
    held_back = Vocoder.lookahead
    seams = [(vocoder_stage._LONGEST * count - held_back) * 480 for count in (1, 2)]
    monkeypatch.setattr(vocoder_stage, "_LONGEST", mel.shape[1])
    report = measure(in_parts, _one_shot(vocoder, mel), seams, RATE)
    assert report.error_db < ERROR_DB + 10
    assert report.level_db < LEVEL_DB and report.click < CLICK


def test_chunks_of_their_own_are_heard(
    vocoder: VocoderStage, mels: dict[str, Float32], one_shots: dict[str, Float32]
) -> None:
    """The measures do find what they are for: a vocoder that starts anew with each chunk."""
    reports = []
    for text, mel in mels.items():
        waves = [_one_shot(vocoder, part) for part in _parts(mel, 30)]
        reports.append(_compare(waves, one_shots[text]))
    assert min(report.error_db for report in reports) > ERROR_DB + 20
    assert min(report.level_db for report in reports) > 10 * LEVEL_DB


def test_a_step_in_the_waveform_is_a_click(one_shots: dict[str, Float32]) -> None:
    size, clicks = 30 * 480, []
    for one_shot in one_shots.values():
        parts = np.split(one_shot, range(size, len(one_shot), size))
        waves = [part * (-1) ** index for index, part in enumerate(parts)]
        clicks.append(_compare(waves, one_shot).click)
    assert np.median(clicks) > 2  # one that falls into a pause is none
