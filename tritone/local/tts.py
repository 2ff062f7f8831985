"""A model directory in this process: offline use, tests, and measurements without a server."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings, flow_of
from tritone.acoustic.presets import AS_IT_IS, SolverChoice
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32, Int32
from tritone.compute import torch_device
from tritone.engines.record import check_language_model
from tritone.families import open_model
from tritone.families.memory_check import check_memory
from tritone.families.shapes_check import check_shapes
from tritone.frontend.text.settings import TextSettings, text_settings
from tritone.llm.contract import Generation, GenerationRequest, Increment, SamplingParams
from tritone.llm.runtimes import runtime_of, warm_up
from tritone.loading.steps import Loader, Reporter
from tritone.local.pieces import Pieces, speech_of
from tritone.resources import embedded_voice
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits
from tritone.synthesis.live_text import LiveText, TextMode
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Cuts, Hops
from tritone.synthesis.values import AudioChunk, Emotion, Segment, SynthesisRequest, in_order
from tritone.voice import Voice


class LocalFlowSession:
    """`synthesis.rules.FlowSession` on a FlowStage of this process."""

    def __init__(self, stage: FlowStage, voice: Voice, *, streaming: bool) -> None:
        self._stage, self._voice = stage, voice
        self._state = stage.open(voice) if streaming else None

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        if self._state is None:
            return self._stage.whole(tokens, self._voice)
        frames, self._state = self._stage.step(tokens, self._state, finalize=finalize)
        return frames

    def close(self) -> None:
        self._state = None


class LocalVocoderSession:
    """`synthesis.rules.VocoderSession` on a VocoderStage of this process."""

    def __init__(self, stage: VocoderStage, *, seed: int, speed: float) -> None:
        self._stage = stage
        self._state = stage.start(seed=seed, speed=speed)

    def step(self, frames: Float32, *, cuts: Cuts = (), finalize: bool) -> Float32:
        wave, self._state = self._stage.step(frames, self._state, cuts=cuts, finalize=finalize)
        return wave


class LocalStages:
    """`synthesis.rules.Stages` with every model of a model directory loaded here.

    vocoder: settings other than the profile's. solver: of the flow's ODE. Other parameters, and
    errors, as for `load`.
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
        solver: SolverChoice = AS_IT_IS,
        hops: Hops | None = None,
        text: TextSettings | None = None,
    ) -> None:
        usual, values = runtime_of(profile), language_model or {}
        flow = flow or flow_of(profile)
        device = torch_device(flow.device)  # before anything is read
        self.model = open_model(model_dir)
        family, config = self.model.family, self.model.config
        runtime = family.runtime(usual)
        check_memory(self.model, profile, values)
        check_shapes(self.model)
        self.takes_open_text = runtime.extends
        self.rules = family.rules(config, hops or Hops())
        self.frontend = family.load_frontend(model_dir, config, limits, text or text_settings())
        self.flow = family.load_flow(model_dir, family.with_solver(config, solver), flow)
        vocoder = vocoder or VocoderSettings(device=str(device))
        self.vocoder = family.load_vocoder(model_dir, config, vocoder)
        self.llm = runtime.open(
            model_dir,
            self.model.language_model,
            check_engine=check_language_model,
            **(values if runtime is usual else runtime.in_place_of(usual, values)),
        )

    def warm_up(self) -> None:
        """Run every model once, as a server does before it is ready."""
        self.frontend.warm_up()
        self.flow.warm_up()
        self.vocoder.warm_up()
        no_text = np.zeros(0, np.int32)
        warm_up(self.llm, self.model.family.example_prompt(self.model.config, no_text))

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        if (voice := request.same_voice) is None:
            return self.frontend.prepare(request)
        return in_order(lambda index: self.frontend.block(request, index, voice), voice, True)

    def generate(self, request: GenerationRequest) -> Generation:
        return self.llm.submit(request)

    def open_flow(self, voice: Voice, *, streaming: bool) -> LocalFlowSession:
        return LocalFlowSession(self.flow, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> LocalVocoderSession:
        return LocalVocoderSession(self.vocoder, seed=seed, speed=speed)


class TTS:
    """A model directory loaded in this process. Close it, or use it in a `with` block.

    Streams of several threads may run at the same time.
    """

    def __init__(self, stages: LocalStages, settings: Settings) -> None:
        self._stages, self._settings, self._turns = stages, settings, StageTurns()

    @property
    def sample_rate(self) -> int:
        """Of everything that comes out, in Hz."""
        return self._stages.rules.rates.sample_rate

    def stream(
        self,
        text: str | Pieces,
        *,
        flush_after: float | None = None,
        text_mode: str = TextMode.SENTENCES.value,
        voice: str | None = None,
        reference_wav: Float32 | None = None,
        reference_rate: int = 16000,
        reference_text: str | None = None,
        instruct_text: str | None = None,
        sampling: SamplingParams | None = None,
        speed: float = 1.0,
        streaming: bool = True,
        emotion: Emotion | None = None,
    ) -> Iterator[AudioChunk]:
        """Speak; yield chunks as they become ready.

        text: all of it, or an iterator of pieces, each spoken as soon as its sentence is complete
            or FLUSH comes. It is read in a thread, from the first chunk that is asked for on.
        flush_after: seconds without a piece, after which what there is is spoken too.
        text_mode: of pieces; "interleaved" speaks while a sentence is being written, "auto" where
            the model can.
        reference_wav: (N,) mono samples in [-1, 1] at reference_rate Hz, 0.3 to 30 s, to speak in
            that voice; with reference_text, what it says, the voice is followed more closely.
        voice: a registered voice instead. sampling: seed, temperature, top_p, top_k.
        streaming: False gives one chunk with full attention over the whole text.
        emotion: other than the voice's own, for models that have emotions.

        Raises InvalidRequest, StageFailed. Closing the iterator stops the work.
        """
        request = SynthesisRequest(
            text=text if isinstance(text, str) else "",
            reference_wav=reference_wav,
            reference_rate=reference_rate,
            reference_text=reference_text,
            instruct_text=instruct_text,
            voice=voice,
            sampling=sampling or SamplingParams(),
            speed=speed,
            streaming=streaming,
            emotion=emotion,
        )
        return self._speak(request, text, flush_after, text_mode)

    def _speak(
        self,
        request: SynthesisRequest,
        text: str | Pieces,
        flush_after: float | None,
        text_mode: str,
    ) -> Iterator[AudioChunk]:
        stages, settings = self._stages, self._settings
        speak = partial(synthesize, request, stages, stages.rules, settings, turns=self._turns)
        if isinstance(text, str):
            return speak()
        mode = TextMode.named(text_mode)
        live = LiveText(settings.limits.max_text_characters, flush_after_s=flush_after, mode=mode)
        return speech_of(speak(live=live), live, text)

    def synthesize(self, text: str | Pieces, **options: object) -> Float32:
        """The whole utterance, (n,) samples; options as for `stream`."""
        chunks = self.stream(text, **options)  # type: ignore[arg-type]
        return np.concatenate([chunk.samples for chunk in chunks])

    def token2wav(
        self, tokens: Int32, prompt: Voice, *, streaming: bool = False, seed: int = 0
    ) -> Float32:
        """The acoustic part alone: (N,) speech codes to samples in the voice of `prompt`.

        streaming: chunk by chunk with the chunk mask, else one pass with full attention.
        """
        flow = self._stages.open_flow(prompt, streaming=streaming)
        frames = flow.step(Increment(np.asarray(tokens, dtype=np.int32)), finalize=True)
        return self._stages.open_vocoder(seed=seed, speed=1.0).step(frames, finalize=True)

    def close(self) -> None:
        """Stop the language model; running streams end with StageFailed."""
        self._stages.llm.close()

    def __enter__(self) -> "TTS":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    model_dir: str | Path | None = None,
    *,
    profile: str = "cpu",
    preset: str = "exact",
    language_model: Mapping[str, Any] | None = None,
    flow: FlowSettings | None = None,
    hops: Hops | None = None,
    settings: Settings | None = None,
    text: TextSettings | None = None,
    report: Reporter | None = None,
) -> TTS:
    """Load a model directory, by default the embedded voice, into this process.

    profile: where it runs, as for `tritone serve`: cpu, gpu, gpu-torch or gpu-llmapi.
    preset: how the flow's ODE is solved, as for `tritone serve`: exact, fast or faster.
    language_model: parameters of the profile's runtime, as in tensorrt_llm's configurations, e.g.
        {"precision": "fp32"}. flow: other than the profile's. hops: other than the family's.
    text: pauses and lexicon, by default those of a server.
    report: called for every step of loading, before and after it, and for one that takes too long;
        `tritone.loading.reports.line` makes a line of each. None loads silently.

    Raises ModelDirectoryError when something in it is missing, damaged or of another shape, and
    EnvironmentProblem when the profile's device or packages are missing, or the preset is unknown.
    """
    settings, model_dir = settings or Settings(), Path(model_dir or embedded_voice())
    with Loader("local", report, model_dir=model_dir, profile=profile) if report else nullcontext():
        stages = LocalStages(
            model_dir,
            settings.limits,
            profile=profile,
            language_model=language_model,
            flow=flow,
            solver=SolverChoice(preset),
            hops=hops,
            text=text,
        )
    return TTS(stages, settings)
