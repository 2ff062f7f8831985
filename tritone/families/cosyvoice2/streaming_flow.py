"""CosyVoice2's flow as `tritone.acoustic.flow_stage.FlowStage` takes it: arrays in, checked."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tritone.acoustic.flow_stage import StageStep
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import StreamState
from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, Overloaded, StageFailed
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt, FlowState, FlowStep
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment
from tritone.loading.steps import step
from tritone.voice import Voice as AnyVoice

RECORDED_PAGES = 16  # chunks of speech in view whose graphs are recorded before the first request


class CosyVoice2Flow:
    """A `StreamingFlow`. noise: (frames, mel) start noise of every stream, on the flow's device."""

    def __init__(self, flow: Flow, noise: Tensor) -> None:
        self.flow, self._config, self._noise = flow, flow.config, noise
        self.bins = flow.config.output_size

    def record_graphs(self) -> None:
        if isinstance(self.flow.solver, PagedSolver):
            with step("flow graphs"):
                self.flow.solver.record(RECORDED_PAGES)

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
            [FlowStep(self._codes(s.increment.ids), _own(s.state), s.finalize) for s in steps]
        )

    def whole(self, increment: Increment, voice: AnyVoice) -> Tensor:
        self._check_codes(increment.ids)
        if not len(increment):
            raise StageFailed("token2wav", "got no speech tokens")
        prompt = self._prompt(voice)
        total = len(increment) + len(prompt.tokens)
        self._check_length(total * self._config.token_mel_ratio)
        return self.flow(self._codes(increment.ids), prompt, chunked=False, finalize=True)

    def _prompt(self, voice: AnyVoice) -> FlowPrompt:
        assert isinstance(voice, Voice)
        config = self._config
        frames = len(voice.prompt_tokens) * config.token_mel_ratio
        for name, array, shape in (
            ("prompt_speech_feat", voice.prompt_mel, (frames, config.output_size)),
            ("prompt_spk_embedding", voice.embedding, (config.spk_embed_dim,)),
        ):
            if array.shape != shape:
                raise InvalidRequest(
                    name, f"has shape {list(array.shape)}; the prompt's tokens need {list(shape)}"
                )
        self._check_codes(voice.prompt_tokens)
        return FlowPrompt(
            self._codes(voice.prompt_tokens),
            self._copy(voice.prompt_mel, torch.float32),
            self._copy(voice.embedding, torch.float32),
            self._noise,
        )

    def _check_codes(self, tokens: Int32) -> None:
        codes = self._config.vocab_size
        outside = tokens[(tokens < 0) | (tokens >= codes)]
        if outside.size:
            raise InvalidRequest(
                "target_speech_tokens", f"holds {int(outside[0])}; codes are 0..{codes - 1}"
            )

    def _check_length(self, frames: int) -> None:
        most = len(self._noise)
        if frames > most:
            raise InvalidRequest(
                "target_speech_tokens",
                f"reach {frames} mel frames with the prompt; one segment holds {most}",
            )

    def _codes(self, tokens: Int32) -> Tensor:
        return self._copy(tokens, torch.long)

    def _copy(self, array: Int32 | Float32, dtype: torch.dtype) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=self._noise.device)


def _own(state: StreamState) -> FlowState:
    assert isinstance(state, FlowState)
    return state
