"""The flow: new speech tokens of a sequence in, new acoustic frames out."""

from collections.abc import Generator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from tritone.acoustic.flow_stage import StageStep
from tritone.acoustic.fused.trial import check as check_gpu_kernels
from tritone.acoustic.placement import FlowSettings, PoolSettings
from tritone.acoustic.presets import SolverChoice
from tritone.arrays import Float32
from tritone.compute import keep_kernels, torch_dtype
from tritone.errors import InvalidRequest
from tritone.llm.contract import Increment
from tritone.serving.messages import Inputs, answer_together, inner_inputs, response, tensor
from tritone.serving.metrics import Gauge
from tritone.serving.parameters import (
    device_name,
    left_chunks,
    parameters,
    served_model,
    uses_plans,
    watched,
)
from tritone.serving.sequence_states import SequenceTable
from tritone.serving.wanted import unwanted
from tritone.triton_models import FLOW
from tritone.voice import Voice, open_voice

_VOICES = 64  # prepared, beside the sequences, in a GPU's pool


class TritonPythonModel:
    @watched(FLOW)
    def initialize(self, args: Mapping[str, str]) -> None:
        values = parameters(
            args,
            device="auto",
            left_context_chunks="auto",
            preset="exact",
            solver="auto",
            ode_steps=0,
            guided_from=0,
            guided_steps=0,
            engine="torch",
            dtype="auto",
            cache_dtype="auto",
            attention="auto",
            cache_mb=0,
            gpu_kernels="auto",
            prepared_voices_mb=0,
            kernels_kept=160,
            max_sequences=128,
            max_idle_seconds=60.0,
        )
        keep_kernels(values["kernels_kept"])
        model = served_model()
        family, settings = model.family, self._settings(values)
        config = family.with_solver(model.config, _solver(values))
        self._stage = family.load_flow(model.folder, config, settings)
        self._stage.warm_up()
        self._voice_kind: type[Voice] = family.voice
        self._sequences: SequenceTable[Any] = SequenceTable(
            values["max_sequences"], values["max_idle_seconds"]
        )
        self._gauge = Gauge("tritone_flow_sequences", "Sequences whose caches are held")

    @staticmethod
    def _settings(values: Mapping[str, Any]) -> FlowSettings:
        device, plans = device_name(values["device"]), uses_plans(values)
        check_gpu_kernels(values["gpu_kernels"], pooled=device != "cpu" and not plans)
        pool = PoolSettings(
            cache_mb=values["cache_mb"],
            streams=values["max_sequences"] + _VOICES,
            kernels=values["gpu_kernels"],
        )
        int8 = values["dtype"] == "int8"
        return FlowSettings(
            left_chunks=left_chunks(values),
            dtype=None if int8 else torch_dtype(values["dtype"]),
            int8=int8,
            cache_dtype=torch_dtype(values["cache_dtype"]),
            prepared_bytes=(values["prepared_voices_mb"] << 20) or None,
            device=device,
            pool=pool if device != "cpu" and not plans else None,
            plans=plans,
            attention=values["attention"],
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = answer_together(requests, self._step, self._stage.step_all, FLOW)
        self._gauge.set(len(self._sequences))
        return responses

    def _step(self, request: Any) -> Generator[StageStep, Any, Any]:
        """Yields the step that is taken together with those of other sequences."""
        inputs = inner_inputs(request)
        sequence, finalize = inputs.scalar("CORRID"), inputs.flag("finalize")
        state, tokens = self._sequences.take(sequence), _tokens(inputs)
        if inputs.flag("START"):
            voice = self._voice(inputs)
            if not inputs.flag("streaming", default=True):
                return _answer(self._stage.whole(tokens, voice, unwanted(request)))
            self._sequences.drop_idle()
            state = self._stage.open(voice)
        if inputs.flag("END") and not finalize:
            return response()  # cancelled: the state is dropped with this
        if state is None:
            raise InvalidRequest("START", f"is missing: sequence {sequence} is not open")
        frames, state = yield StageStep(tokens, state, finalize, unwanted(request))
        if not inputs.flag("END"):
            self._sequences.put(sequence, state)
        return _answer(frames)

    def _voice(self, inputs: Inputs) -> Voice:
        packed = inputs.array("prompt_voice")
        if packed is None:
            raise InvalidRequest("prompt_voice", "is required with START")
        return open_voice(self._voice_kind, packed.tobytes(), "prompt_voice")

    def finalize(self) -> None:
        self._gauge.close()


def _solver(values: Mapping[str, Any]) -> SolverChoice:
    return SolverChoice(**{field.name: values[field.name] for field in fields(SolverChoice)})


def _tokens(inputs: Inputs) -> Increment:
    ids = inputs.integers("target_speech_tokens")
    ids = np.zeros(0, np.int32) if ids is None else ids
    latents = inputs.shaped("target_latents", len(ids), -1)
    return Increment(ids, latents)


def _answer(frames: Float32) -> Any:
    return response(tensor("frames", frames[None])) if frames.shape[1] else response()
