"""IndexTTS2's flow and vocoder as stages, from a model directory, where the settings want them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tritone.acoustic import weights
from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.acoustic.kernels.int8 import int8_linear
from tritone.acoustic.linear import pack_for_cpu, round_to_int8
from tritone.acoustic.placement import (
    FlowSettings,
    VocoderSettings,
    check_int8,
    choose_attention,
)
from tritone.acoustic.solver import GUIDED_ROWS, StreamState
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32, Int32
from tritone.compute import best_dtype, torch_device
from tritone.errors import EnvironmentProblem, InvalidRequest
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.flow import Flow, FlowNetwork, FlowState, FlowStep
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.planner import HopPolicy
from tritone.families.indextts2.vocoder import Vocoder
from tritone.families.indextts2.voice import Voice
from tritone.families.indextts2.window_solver import WindowSolver
from tritone.llm.contract import Increment
from tritone.loading.steps import step
from tritone.voice import Voice as AnyVoice

FLOW_FILE = "flow.safetensors"
VOCODER_FILE = "vocoder.safetensors"
NOISE_FRAMES = 15_000  # of a generation, 174 s
_CODES, _LATENTS, _VOICE = "target_speech_tokens", "target_latents", "prompt_voice"  # on the wire


class AcousticConfig(Protocol):
    """The part of the configuration that is read here."""

    @property
    def flow(self) -> FlowConfig: ...

    @property
    def vocoder(self) -> VocoderConfig: ...


def load_flow(model_dir: Path, config: AcousticConfig, settings: FlowSettings) -> FlowStage:
    """Raises ModelDirectoryError for the file, and EnvironmentProblem for the settings."""
    _check(settings)
    device, path = torch_device(settings.device), model_dir / FLOW_FILE
    with step("flow weights", path):
        network = weights.load_network(lambda: FlowNetwork(config.flow), path)
    with step("start noise"):
        noise = start_noise(config.flow)
    with step("flow packing" if device.type == "cpu" else "flow placement"):
        place(network, device, settings)
    solver = WindowSolver(network.estimator, config.flow.solver)
    return FlowStage(CodeFlow(Flow(network, solver, noise.to(device))), settings)


def load_vocoder(
    model_dir: Path, config: AcousticConfig, settings: VocoderSettings
) -> VocoderStage:
    """Errors as for `load_flow`.

    In float32 unless the settings say otherwise: its snakes magnify rounding, and beside the flow
    it costs little.
    """
    if settings.plans:
        raise EnvironmentProblem("engine is tensorrt: IndexTTS2 has no plans; set it to torch")
    device, path = torch_device(settings.device), model_dir / VOCODER_FILE
    with step("vocoder weights", path):
        network = weights.load_network(lambda: BigVGAN(config.vocoder), path)
    with step("vocoder placement"):
        network.to(device).round_body(settings.dtype or torch.float32)
    return VocoderStage(Vocoder(network))


def place(network: FlowNetwork, device: torch.device, settings: FlowSettings) -> None:
    """The estimator in the best precision there is, or the settings' own; what comes before it is
    computed once for each window and stays in float32."""
    network.to(device)
    estimator = network.estimator
    dtype = settings.dtype or best_dtype(device, estimator.channels)
    estimator.to(dtype)
    if device.type == "cpu":
        if settings.int8:
            round_to_int8(estimator.int8_parts, int8_linear(dtype))
        frames = frames_of(HopPolicy().max_hop)
        pack_for_cpu(estimator, GUIDED_ROWS * frames)
        shape = (GUIDED_ROWS, estimator.heads, frames, estimator.channels // estimator.heads)
        choose_attention(settings.attention, shape, dtype)


def start_noise(config: FlowConfig) -> Tensor:
    """The fixed start noise of the flow, (frames, mel); upstream draws another every time."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(NOISE_FRAMES, config.mel, generator=generator)
    return noise * config.solver.start_noise_scale


class CodeFlow:
    """A `StreamingFlow` of codes in a `Voice`: what comes over the wire is checked and copied."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self._config, self._noise = flow, flow.config, flow.noise
        self.bins = flow.config.mel

    def record_graphs(self) -> None:
        """Windows come in too many lengths."""

    def in_use(self, state: StreamState) -> bool:
        return False

    def example(self) -> tuple[Voice, Increment]:
        config, codes = self._config, HopPolicy().first_hop
        mel, style = np.zeros((0, config.mel), np.float32), np.ones(config.style, np.float32)
        voice = Voice(np.zeros(0, np.int32), mel, style, mel, style)
        latents = np.zeros((codes, config.latent_width), np.float32)
        return voice, Increment(np.zeros(codes, np.int32), latents)

    def start(self, voice: AnyVoice) -> FlowState:
        assert isinstance(voice, Voice)
        config = self._config
        for name, array, shape in (
            ("mel", voice.mel, (len(voice.mel), config.mel)),
            ("style", voice.style, (config.style,)),
        ):
            if array.shape != shape:
                problem = f"has {name} of shape {list(array.shape)}; it must be {list(shape)}"
                raise InvalidRequest(_VOICE, problem)
        if len(voice.mel) and not len(voice.codes):
            raise InvalidRequest(_VOICE, f"has {len(voice.mel)} frames of mel and no codes")
        self._check_codes(voice.codes, _VOICE)
        self._check_length(len(voice.mel), _VOICE)
        copy = self._copy
        return self.flow.start(copy(voice.codes), copy(voice.mel), copy(voice.style))

    def check(self, increment: Increment, state: StreamState) -> None:
        self._check_increment(increment)
        self._check_length(frames_of(_own(state).total + len(increment)))

    def step_all(self, steps: Sequence[StageStep]) -> list[tuple[Tensor, FlowState]]:
        return self.flow.step_all(
            [FlowStep(*self._taken(s.increment), _own(s.state), s.finalize) for s in steps]
        )

    def whole(self, increment: Increment, voice: AnyVoice) -> Tensor:
        if not len(increment):
            raise InvalidRequest(_CODES, "are none; one pass needs all of them")
        self._check_increment(increment)
        self._check_length(frames_of(len(increment)))
        return self.flow.whole(*self._taken(increment), self.start(voice))

    def _taken(self, increment: Increment) -> tuple[Tensor, Tensor]:
        latents = increment.latents
        if latents is None:
            latents = np.zeros((0, self._config.latent_width), np.float32)
        return self._copy(increment.ids), self._copy(latents)

    def _check_increment(self, increment: Increment) -> None:
        self._check_codes(increment.ids)
        wanted = (len(increment), self._config.latent_width)
        found = (0, wanted[1]) if increment.latents is None else increment.latents.shape
        if found != wanted:
            raise InvalidRequest(
                _LATENTS, f"have shape {list(found)}; {len(increment)} codes need {list(wanted)}"
            )
        if increment.latents is not None and not np.isfinite(increment.latents).all():
            raise InvalidRequest(_LATENTS, "have values that are NaN or infinite")

    def _check_codes(self, codes: Int32, field: str = _CODES) -> None:
        outside = codes[(codes < 0) | (codes >= self._config.codes)]
        if outside.size:
            most = self._config.codes - 1
            raise InvalidRequest(field, f"holds {int(outside[0])}; codes are 0..{most}")

    def _check_length(self, frames: int, field: str = _CODES) -> None:
        if frames > (most := len(self._noise)):
            raise InvalidRequest(field, f"reach {frames} mel frames; one segment holds {most}")

    def _copy(self, array: Int32 | Float32) -> Tensor:
        dtype = torch.long if array.dtype.kind == "i" else torch.float32
        return torch.tensor(array, dtype=dtype, device=self._noise.device)


def _own(state: StreamState) -> FlowState:
    assert isinstance(state, FlowState)
    return state


def _check(settings: FlowSettings) -> None:
    check_int8(settings)
    if settings.plans:
        raise EnvironmentProblem("engine is tensorrt: IndexTTS2 has no plans; set it to torch")
    if settings.left_chunks:
        raise EnvironmentProblem(
            f"left_context_chunks is {settings.left_chunks}: IndexTTS2's windows hear the same "
            "context everywhere; set it to auto"
        )
