"""The flow as a stage: voices prepared once and shared, numpy in and out, on a CPU or a GPU."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from tritone.acoustic.flow_placement import FlowSettings, place
from tritone.acoustic.paged_solver import PagedSolver
from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.families.cosyvoice2.config import FlowConfig
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt, FlowState, FlowStep
from tritone.families.cosyvoice2.voice import Voice
from tritone.loading.steps import step

RECORDED_PAGES = 16  # seconds of speech in view whose graphs are recorded before the first request


@dataclass(frozen=True)
class StageStep:
    """New codes (n,) of one stream; `finalize` when they are its last."""

    tokens: Int32
    state: FlowState
    finalize: bool


class FlowStage:
    """Opens and steps streams of one flow model. Safe to use from several threads."""

    def __init__(self, flow: Flow, noise: torch.Tensor, settings: FlowSettings) -> None:
        self._device = place(flow, settings)
        self._flow, self._noise, self._settings = flow, noise.to(self._device), settings
        self._prepared: OrderedDict[bytes, FlowState] = OrderedDict()
        self._lock = threading.Lock()  # of the prepared voices
        # streams of a pool share its buffers
        self._stepping = threading.Lock() if settings.pool else nullcontext()

    def warm_up(self) -> None:
        """Compute one chunk: the first call of every operator is several times slower."""
        config = self.config
        mel = np.zeros((0, config.output_size), np.float32)
        speaker = np.ones(config.spk_embed_dim, np.float32)
        tokens = np.zeros(config.chunk_size + config.pre_lookahead_len, np.int32)
        with step("flow warm-up"):
            state = self.open(Voice(np.zeros(0, np.int32), mel, speaker))
            self.step(tokens, state, finalize=False)
            if isinstance(self._flow.solver, PagedSolver):
                with step("flow graphs"), self._stepping:
                    self._flow.solver.record(RECORDED_PAGES)

    @property
    def config(self) -> FlowConfig:
        return self._flow.config

    @torch.inference_mode()
    def open(self, voice: Voice) -> FlowState:
        """A new stream in a voice; the prompt's part is computed once per voice and shared."""
        digest = hashlib.sha256()
        for array in (voice.prompt_tokens, voice.prompt_mel, voice.embedding):
            digest.update(np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        with self._lock, self._stepping:
            state = self._prepared.get(key)
            if state is None:
                state = self._prepared[key] = self._flow.start(self._prompt(voice))
            self._prepared.move_to_end(key)
            self._evict()
            return state.fork()

    def step(self, tokens: Int32, state: FlowState, *, finalize: bool) -> tuple[Float32, FlowState]:
        """Take new codes (n,); return the mel frames that became final and the next state."""
        (result,) = self.step_all([StageStep(tokens, state, finalize)])
        if isinstance(result, TritoneError):
            raise result
        return result

    @torch.inference_mode()
    def step_all(
        self, steps: Sequence[StageStep]
    ) -> list[tuple[Float32, FlowState] | TritoneError]:
        """`step` for several streams together; a stream's error stands in its own place."""
        checked = [self._checked(step) for step in steps]
        with self._stepping:
            stepped = iter(self._flow.step_all([s for s in checked if isinstance(s, FlowStep)]))
            return [_on_wire(next(stepped) if isinstance(s, FlowStep) else s) for s in checked]

    @torch.inference_mode()
    def whole(self, tokens: Int32, voice: Voice) -> Float32:
        """The mel of all codes of an utterance in one pass with full attention."""
        self._check(tokens)
        if not len(tokens):
            raise StageFailed("token2wav", "got no speech tokens")
        total = len(tokens) + len(voice.prompt_tokens)
        self._check_length(total * self.config.token_mel_ratio)
        prompt = self._prompt(voice)
        mel = self._flow(self._tensor(tokens, torch.long), prompt, chunked=False, finalize=True)
        return _as_numpy(mel)

    def _checked(self, step: StageStep) -> FlowStep | TritoneError:
        total = len(step.state.pending) + len(step.tokens)
        try:
            self._check(step.tokens)
            self._check_length(step.state.frame + total * self.config.token_mel_ratio)
        except InvalidRequest as error:
            return error
        return FlowStep(self._tensor(step.tokens, torch.long), step.state, step.finalize)

    def _prompt(self, voice: Voice) -> FlowPrompt:
        config = self.config
        frames = len(voice.prompt_tokens) * config.token_mel_ratio
        for name, array, shape in (
            ("prompt_speech_feat", voice.prompt_mel, (frames, config.output_size)),
            ("prompt_spk_embedding", voice.embedding, (config.spk_embed_dim,)),
        ):
            if array.shape != shape:
                raise InvalidRequest(
                    name, f"has shape {list(array.shape)}; the prompt's tokens need {list(shape)}"
                )
        self._check(voice.prompt_tokens)
        return FlowPrompt(
            self._tensor(voice.prompt_tokens, torch.long),
            self._tensor(voice.prompt_mel, torch.float32),
            self._tensor(voice.embedding, torch.float32),
            self._noise,
        )

    def _check(self, tokens: Int32) -> None:
        codes = self.config.vocab_size
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

    def _tensor(self, array: Int32 | Float32, dtype: torch.dtype) -> torch.Tensor:
        """A copy: a prepared voice outlives the request, whose arrays may be a server's memory."""
        return torch.tensor(array, dtype=dtype, device=self._device)

    def _evict(self) -> None:
        total = sum(state.nbytes for state in self._prepared.values())
        while total > self._settings.prepared_bytes and len(self._prepared) > 1:
            _, oldest = self._prepared.popitem(last=False)
            total -= oldest.nbytes


def _on_wire(
    result: tuple[torch.Tensor, FlowState] | TritoneError,
) -> tuple[Float32, FlowState] | TritoneError:
    return result if isinstance(result, TritoneError) else (_as_numpy(result[0]), result[1])


def _as_numpy(mel: torch.Tensor) -> Float32:
    return np.ascontiguousarray(mel.cpu().numpy(), dtype=np.float32)
