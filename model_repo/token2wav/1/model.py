"""Flow matching: new speech tokens of a sequence in, new mel frames out."""

import numpy as np
import torch

from tritone.errors import InvalidRequest
from tritone.families import family_of
from tritone.flow_settings import FlowSettings
from tritone.flow_stage import FlowStage
from tritone.sequences import SequenceTable
from tritone.serving.metrics import Gauge
from tritone.serving.parameters import model_directory, parameters
from tritone.serving.replies import answer
from tritone.serving.tensors import Inputs, response, tensor
from tritone.types import Voice

STAGE = "token2wav"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TritonPythonModel:
    def initialize(self, args):
        values = parameters(
            args,
            left_context_chunks=0,
            cache_dtype="fp32",
            prepared_voices_mb=1024,
            max_sequences=64,
            max_idle_seconds=60.0,
        )
        model_dir = model_directory(args)
        family, config = family_of(model_dir)
        settings = FlowSettings(
            left_chunks=values["left_context_chunks"],
            cache_dtype=DTYPES[values["cache_dtype"]],
            prepared_bytes=values["prepared_voices_mb"] << 20,
        )
        flow, noise = family.load_flow(model_dir, config), family.start_noise(config)
        self._stage = FlowStage(flow, noise, settings)
        self._stage.warm_up()
        self._sequences = SequenceTable(values["max_sequences"], values["max_idle_seconds"])
        self._gauge = Gauge("tritone_flow_sequences", "Sequences whose caches are held")

    def execute(self, requests):
        responses = answer(requests, self._step, STAGE)
        self._gauge.set(len(self._sequences))
        return responses

    def _step(self, request):
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
        mel, state = self._stage.step(tokens, state, finalize=finalize)
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
