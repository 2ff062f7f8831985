"""Flow matching: new speech tokens of a sequence in, new mel frames out."""

import numpy as np

from tritone.acoustic.device import torch_dtype
from tritone.acoustic.flow_placement import FlowSettings, PoolSettings
from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.errors import InvalidRequest
from tritone.families import family_of
from tritone.families.cosyvoice2.config import with_cheaper_solver
from tritone.families.cosyvoice2.voice import Voice
from tritone.serving.load_log import staged
from tritone.serving.metrics import Gauge
from tritone.serving.parameters import (
    model_directory,
    parameters,
    torch_device_name,
    uses_plans,
)
from tritone.serving.replies import answer_together
from tritone.serving.sequence_states import SequenceTable
from tritone.serving.tensors import Inputs, response, tensor

STAGE = "token2wav"
MOST_TOGETHER = 16  # max_batch_size in config.pbtxt


class TritonPythonModel:
    @staged(STAGE)
    def initialize(self, args):
        values = parameters(
            args,
            left_context_chunks=0,
            ode_steps=0,
            guided_steps=0,
            engine="torch",
            dtype="auto",
            cache_dtype="auto",
            cache_mb=0,
            prepared_voices_mb=1024,
            max_sequences=64,
            max_idle_seconds=60.0,
        )
        model_dir = model_directory(args)
        family, config = family_of(model_dir)
        settings = self._settings(values, torch_device_name(), model_dir)
        config = with_cheaper_solver(config, values["ode_steps"], values["guided_steps"])
        flow, noise = family.load_flow(model_dir, config), family.start_noise(config)
        self._stage = FlowStage(flow, noise, settings)
        self._stage.warm_up()
        self._sequences = SequenceTable(values["max_sequences"], values["max_idle_seconds"])
        self._gauge = Gauge("tritone_flow_sequences", "Sequences whose caches are held")

    @staticmethod
    def _settings(values, device, model_dir):
        on_gpu, plans = device != "cpu", uses_plans(values)
        pool = PoolSettings(
            cache_mb=values["cache_mb"], streams=2 * values["max_sequences"], batch=MOST_TOGETHER
        )
        return FlowSettings(
            left_chunks=values["left_context_chunks"],
            dtype=torch_dtype(values["dtype"]),
            cache_dtype=torch_dtype(values["cache_dtype"]),
            prepared_bytes=values["prepared_voices_mb"] << 20,
            device=device,
            pool=pool if on_gpu and not plans else None,
            plans=model_dir if plans else None,
        )

    def execute(self, requests):
        responses = answer_together(requests, self._step, self._stage.step_all, STAGE)
        self._gauge.set(len(self._sequences))
        return responses

    def _step(self, request):
        """Yields the step that is taken together with those of other sequences."""
        inputs = Inputs(request)
        sequence, finalize = inputs.scalar("CORRID"), inputs.flag("finalize")
        state = self._sequences.take(sequence)
        tokens = inputs.integers("target_speech_tokens")
        tokens = np.zeros(0, np.int32) if tokens is None else tokens
        if inputs.flag("START"):
            voice = self._voice(inputs)
            if not inputs.flag("streaming", default=True):
                return self._answer(self._stage.whole(tokens, voice))
            state = self._stage.open(voice)
        if inputs.flag("END") and not finalize:
            return response()  # cancelled: the state is dropped with this
        if state is None:
            raise InvalidRequest("START", f"is missing: sequence {sequence} is not open")
        mel, state = yield StageStep(tokens, state, finalize=finalize)
        if not inputs.flag("END"):
            self._sequences.put(sequence, state)
        return self._answer(mel)

    def _voice(self, inputs):
        embedding = inputs.shaped("prompt_spk_embedding", -1)
        if embedding is None:
            raise InvalidRequest("prompt_spk_embedding", "is required with START")
        tokens = inputs.integers("prompt_speech_tokens")
        mel = inputs.shaped("prompt_speech_feat", -1, self._stage.config.output_size)
        if tokens is None or mel is None:
            tokens = np.zeros(0, np.int32)
            mel = np.zeros((0, self._stage.config.output_size), np.float32)
        return Voice(tokens, mel, embedding)

    @staticmethod
    def _answer(mel):
        return response(tensor("mel", mel[None])) if mel.shape[1] else response()

    def finalize(self):
        self._gauge.close()
