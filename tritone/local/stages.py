"""All stages of a model directory in this process."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings, flow_of
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.compute.device import torch_device
from tritone.engines.record import check_language_model
from tritone.families import open_model
from tritone.llm.contract import Generation, GenerationRequest, Increment, LanguageModel
from tritone.llm.runtimes import runtime_of, warm_up
from tritone.synthesis.limits import Limits
from tritone.synthesis.rules import Hops
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice


class LocalFlowSession:
    """`synthesis.rules.FlowSession` on a FlowStage of this process."""

    def __init__(self, stage: FlowStage, voice: Voice, *, streaming: bool) -> None:
        self._stage, self._voice = stage, voice
        self._state = stage.open(voice) if streaming else None
        self._whole: list[Increment] = []

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        if self._state is not None:
            frames, self._state = self._stage.step(tokens, self._state, finalize=finalize)
            return frames
        self._whole.append(tokens)
        if not finalize:
            return np.zeros((0, 0), dtype=np.float32)
        return self._stage.whole(Increment.joined(self._whole), self._voice)

    def close(self) -> None:
        self._state = None
        self._whole.clear()


class LocalVocoderSession:
    """`synthesis.rules.VocoderSession` on a VocoderStage of this process."""

    def __init__(self, stage: VocoderStage, *, seed: int, speed: float) -> None:
        self._stage = stage
        self._state = stage.start(seed=seed, speed=speed)

    def step(self, frames: Float32, *, finalize: bool) -> Float32:
        wave, self._state = self._stage.step(frames, self._state, finalize=finalize)
        return wave


class LocalStages:
    """`synthesis.rules.Stages` with every model of a model directory loaded here.

    vocoder: settings other than the profile's. Other parameters, and errors, as for
    `tritone.load`.
    """

    def __init__(
        self,
        model_dir: Path,
        limits: Limits,
        *,
        profile: str = "cpu",
        language_model: Mapping[str, Any] | None = None,
        flow: FlowSettings | None = None,
        vocoder: VocoderSettings | None = None,
        hops: Hops | None = None,
    ) -> None:
        runtime = runtime_of(profile)
        flow = flow or flow_of(profile)
        device = torch_device(flow.device)  # before anything is read
        self.model = open_model(model_dir)
        family, config = self.model.family, self.model.config
        self.rules = family.rules(config, hops or Hops())
        self.frontend = family.load_frontend(model_dir, config, limits)
        self.flow = family.load_flow(model_dir, config, flow)
        vocoder = vocoder or VocoderSettings(device=str(device))
        self.vocoder = family.load_vocoder(model_dir, config, vocoder)
        self.llm: LanguageModel = runtime.open(
            model_dir,
            self.model.language_model,
            check_engine=check_language_model,
            **(language_model or {}),
        )

    def warm_up(self) -> None:
        """Run every model once, as a server does before it is ready."""
        self.frontend.warm_up()
        self.flow.warm_up()
        self.vocoder.warm_up()
        no_text = np.zeros(0, np.int32)
        warm_up(self.llm, self.model.family.example_prompt(self.model.config, no_text))

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        return self.frontend.prepare(request)

    def generate(self, request: GenerationRequest) -> Generation:
        return self.llm.submit(request)

    def open_flow(self, voice: Voice, *, streaming: bool) -> LocalFlowSession:
        return LocalFlowSession(self.flow, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> LocalVocoderSession:
        return LocalVocoderSession(self.vocoder, seed=seed, speed=speed)
