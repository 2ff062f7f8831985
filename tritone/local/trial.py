"""Loading a model directory step by step and speaking a word with it, every step shown."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from tritone.loading.reports import Summary, line
from tritone.loading.steps import Report, step

if TYPE_CHECKING:
    from tritone.local.tts import LocalStages

SILENCE = 1e-3  # RMS; speech has a hundredfold


@dataclass(frozen=True)
class Trial:
    """half: bf16 or fp16 for flow and vocoder. voice: None takes one that is there."""

    model: Path
    profile: str
    half: str | None
    text: str
    voice: str | None


class Reached(Exception):
    """The step of --until is done."""


class Progress:
    """Shows the steps as they come: a bar on a terminal, lines elsewhere; on stderr."""

    def __init__(self, summary: Summary, total: int, until: str | None) -> None:
        self._summary, self._until = summary, until
        self.running, self.reached = "", until is None
        self._bar = tqdm(total=total, unit="step", leave=False, disable=None, file=sys.stderr)

    def __call__(self, report: Report) -> None:
        if self._until and self.reached:
            return  # the step around the last one ends with it
        self._summary.add(report)
        if report.kind == "begins":
            self.running = report.step
            self._bar.set_description(report.step)
        if self._bar.disable or report.kind == "late":
            self._bar.write(line(report), file=sys.stderr)
        if report.kind == "done":
            self._bar.update()
            if report.step == self._until:
                self.reached = True
                raise Reached

    def close(self) -> None:
        self._bar.close()


def load_and_speak(trial: Trial) -> None:
    """Everything, within the loader that is entered; raises what the steps raise."""
    with step("imports"):
        from tritone.acoustic.placement import VocoderSettings, flow_of
        from tritone.compute import torch_dtype
        from tritone.local.tts import LocalStages
        from tritone.synthesis.limits import Limits

    half = torch_dtype(trial.half) if trial.half else None
    flow = replace(flow_of(trial.profile), dtype=half)
    stages = LocalStages(
        trial.model,
        Limits(),
        profile=trial.profile,
        flow=flow,
        vocoder=VocoderSettings(flow.device, half),
    )
    try:
        stages.warm_up()
        with step("speak"):
            speak(stages, trial)
    finally:
        stages.llm.close()


def speak(stages: "LocalStages", trial: Trial) -> None:
    """Speak the text; raises StageFailed for samples that are no sound.

    Where no voice is registered, the speaker is a second of a buzz.
    """
    import numpy as np

    from tritone.errors import StageFailed
    from tritone.frontend.voices import VoiceStore
    from tritone.llm.contract import SamplingParams
    from tritone.local.tts import TTS
    from tritone.synthesis.pipeline import Settings

    names = VoiceStore(trial.model).names()
    voice = trial.voice or stages.model.config.default_voice or next(iter(names), None)
    buzz = 0.1 * np.sign(np.sin(2 * np.pi * 120 * np.arange(16000) / 16000)).astype(np.float32)
    samples = TTS(stages, Settings()).synthesize(
        trial.text,
        voice=voice,
        reference_wav=None if voice else buzz,
        sampling=SamplingParams(seed=0),
    )
    level = float(np.sqrt(np.mean(np.square(samples))))
    if not level > SILENCE:  # nor is NaN
        raise StageFailed("speak", f"{len(samples)} samples came out with an RMS of {level:g}")
