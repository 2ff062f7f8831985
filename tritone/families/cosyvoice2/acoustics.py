"""CosyVoice2's flow and vocoder as stages, from a model directory, where the settings want them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tritone.acoustic import weights
from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.acoustic.paged_solver import PagedSolver, PagedState
from tritone.acoustic.placement import (
    FlowSettings,
    VocoderSettings,
    is_exact,
    place,
    place_filter,
)
from tritone.acoustic.solver import StreamState
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, Overloaded
from tritone.families.cosyvoice2.code_network import FlowNumbers
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowPrompt, FlowState, FlowStep
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment
from tritone.loading.steps import step
from tritone.voice import Voice as AnyVoice

FLOW_FILE = "flow.safetensors"
VOCODER_FILE = "vocoder.safetensors"
RECORDED_PAGES = 64  # chunks of speech in view, those of the voice's prompt among them, for which
# graphs are recorded before the first request; where more are in view nothing is replayed
_TOKENS, _PROMPT = "target_speech_tokens", "prompt_voice"  # as they are called on the wire
NOISE_FRAMES = 15000  # 300 s at 50 Hz; drawing another length changes all channels but the first


def load_flow(model_dir: Path, config: CosyVoice2Config, settings: FlowSettings) -> FlowStage:
    """Raises ModelDirectoryError for the file, and EnvironmentProblem for the settings."""
    plan = None
    if settings.plans:
        from tritone.families.cosyvoice2.graph_source import flow_plan

        plan = flow_plan(model_dir, config)
    network, noise = load_network(model_dir, config), start_noise(config.flow)
    euler, solver, device = place(
        network, network.estimator, config.flow.solver, settings, plan=plan
    )
    return FlowStage(CodeFlow(Flow(network, euler, solver), noise.to(device)), settings)


def load_vocoder(
    model_dir: Path, config: CosyVoice2Config, settings: VocoderSettings
) -> VocoderStage:
    """Errors as for `load_flow`. Pitch and source are float32 everywhere."""
    plan = None
    if settings.plans:
        from tritone.families.cosyvoice2.graph_source import vocoder_plan

        plan = vocoder_plan(model_dir, config)
    network = load_hift(model_dir, config)
    filter = place_filter(network, settings, plan=plan)
    return VocoderStage(Vocoder(network, config.sample_rate, filter), exact=is_exact(filter))


def load_network(model_dir: Path, config: CosyVoice2Config) -> FlowNetwork:
    """In float32 on the CPU."""
    with step("flow weights", model_dir / FLOW_FILE):
        return weights.load_network(lambda: FlowNetwork(config.flow), model_dir / FLOW_FILE)


def load_hift(model_dir: Path, config: CosyVoice2Config) -> HiFT:
    """In float32 on the CPU."""
    with step("vocoder weights", model_dir / VOCODER_FILE):
        return weights.load_network(lambda: HiFT(config.vocoder), model_dir / VOCODER_FILE)


def start_noise(config: FlowNumbers) -> Tensor:
    """The fixed start noise of the flow, (frames, mel): upstream draws it once with seed 0."""
    with step("start noise"):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn([1, config.output_size, NOISE_FRAMES], generator=generator)[0]
        return noise.mT.contiguous() * config.solver.start_noise_scale


class CodeFlow:
    """A `StreamingFlow` of codes in a `Voice`: what comes over the wire is checked and copied here.

    noise: (frames, mel) start noise of every stream, on the flow's device.
    """

    def __init__(self, flow: Flow, noise: Tensor) -> None:
        self.flow, self._config, self._noise = flow, flow.config, noise
        self.bins = flow.config.output_size

    def record_graphs(self) -> None:
        if isinstance(self.flow.solver, PagedSolver):
            with step("flow graphs"):
                self.flow.solver.record(RECORDED_PAGES)

    def in_use(self, state: StreamState) -> bool:
        solution = _own(state).solution
        return isinstance(solution, PagedState) and solution.in_use

    def example(self) -> tuple[Voice, Increment]:
        config = self._config
        mel = np.zeros((0, config.output_size), np.float32)
        voice = Voice(np.zeros(0, np.int32), mel, np.ones(config.spk_embed_dim, np.float32))
        return voice, Increment(np.zeros(config.chunk_size + config.pre_lookahead_len, np.int32))

    def start(self, voice: AnyVoice) -> FlowState:
        return self.flow.start(self._prompt(voice))

    def check(self, increment: Increment, state: StreamState) -> None:
        self._check_codes(increment.ids)
        own = _own(state)
        total = len(own.pending) + len(increment)
        self._check_length(own.frame + total * self._config.token_mel_ratio)

    def step_all(self, steps: Sequence[StageStep]) -> list[tuple[Tensor, FlowState] | Overloaded]:
        return self.flow.step_all(
            [FlowStep(self._copy(s.increment.ids), _own(s.state), s.finalize) for s in steps]
        )

    def whole(self, increment: Increment, voice: AnyVoice) -> Tensor:
        self._check_codes(increment.ids)
        if not len(increment):
            raise InvalidRequest(_TOKENS, "are none; one pass needs all of them")
        prompt = self._prompt(voice)
        total = len(increment) + len(prompt.tokens)
        self._check_length(total * self._config.token_mel_ratio)
        return self.flow(self._copy(increment.ids), prompt, chunked=False, finalize=True)

    def _prompt(self, voice: AnyVoice) -> FlowPrompt:
        assert isinstance(voice, Voice)
        config = self._config
        frames = len(voice.prompt_tokens) * config.token_mel_ratio
        for name, array, shape in (
            ("prompt_mel", voice.prompt_mel, (frames, config.output_size)),
            ("embedding", voice.embedding, (config.spk_embed_dim,)),
        ):
            if array.shape != shape:
                found, wanted = list(array.shape), list(shape)
                problem = f"has {name} of shape {found}; its tokens need {wanted}"
                raise InvalidRequest(_PROMPT, problem)
        self._check_codes(voice.prompt_tokens, _PROMPT)
        self._check_length(frames, _PROMPT)
        tokens, mel = self._copy(voice.prompt_tokens), self._copy(voice.prompt_mel)
        return FlowPrompt(tokens, mel, self._copy(voice.embedding), self._noise)

    def _check_codes(self, tokens: Int32, field: str = _TOKENS) -> None:
        codes = self._config.vocab_size
        outside = tokens[(tokens < 0) | (tokens >= codes)]
        if outside.size:
            problem = f"holds {int(outside[0])}; codes are 0..{codes - 1}"
            raise InvalidRequest(field, problem)

    def _check_length(self, frames: int, field: str = _TOKENS) -> None:
        if frames > (most := len(self._noise)):
            problem = f"reach {frames} mel frames with the prompt; one segment holds {most}"
            raise InvalidRequest(field, problem)

    def _copy(self, array: Int32 | Float32) -> Tensor:
        dtype = torch.long if array.dtype.kind == "i" else torch.float32
        return torch.tensor(array, dtype=dtype, device=self._noise.device)


def _own(state: StreamState) -> FlowState:
    assert isinstance(state, FlowState)
    return state
