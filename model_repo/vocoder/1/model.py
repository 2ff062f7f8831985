"""Mel frames and a stream's small state in; samples and the next state out."""

import numpy as np

from tritone.acoustic.device import torch_dtype
from tritone.acoustic.vocoder_stage import VocoderStage, Vocoding
from tritone.families import family_of
from tritone.serving.load_log import staged
from tritone.serving.parameters import (
    model_directory,
    parameters,
    torch_device_name,
    uses_plans,
)
from tritone.serving.replies import answer
from tritone.serving.tensors import Inputs, response, tensor

STAGE = "vocoder"


class TritonPythonModel:
    @staged(STAGE)
    def initialize(self, args):
        values = parameters(args, engine="torch", dtype="auto")
        model_dir = model_directory(args)
        family, config = family_of(model_dir)
        self._bins = config.flow.output_size
        self._stage = VocoderStage(
            family.load_vocoder(model_dir, config),
            torch_device_name(),
            plans=model_dir if uses_plans(values) else None,
            dtype=torch_dtype(values["dtype"]),
        )
        self._stage.warm_up()

    def execute(self, requests):
        return answer(requests, self._step, STAGE)

    def _step(self, request):
        inputs = Inputs(request)
        packed = inputs.array("state")
        if packed is None:
            speed = inputs.scalar("speed")
            state = self._stage.start(
                seed=inputs.scalar("seed") or 0, speed=1.0 if speed is None else speed
            )
        else:
            state = Vocoding.from_bytes(packed.tobytes())
        mel = inputs.shaped("mel", self._bins, -1)
        mel = np.zeros((self._bins, 0), np.float32) if mel is None else mel
        wave, state = self._stage.step(mel, state, finalize=inputs.flag("finalize"))
        outputs = [tensor("next_state", np.frombuffer(state.to_bytes(), dtype=np.uint8))]
        if len(wave):
            outputs.append(tensor("waveform", wave))
        return response(*outputs)
