"""Acoustic frames and a stream's small state in; samples and the next state out."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tritone.acoustic.placement import VocoderSettings
from tritone.acoustic.unwanted import ending_when
from tritone.compute import keep_kernels, torch_dtype
from tritone.serving.messages import answer, inner_inputs, response, tensor
from tritone.serving.parameters import device_name, parameters, served_model, uses_plans, watched
from tritone.serving.wanted import unwanted
from tritone.triton_models import VOCODER


class TritonPythonModel:
    @watched(VOCODER)
    def initialize(self, args: Mapping[str, str]) -> None:
        values = parameters(args, device="auto", engine="torch", dtype="auto", kernels_kept=160)
        keep_kernels(values["kernels_kept"])
        model = served_model()
        settings = VocoderSettings(
            device_name(values["device"]),
            torch_dtype(values["dtype"]),
            plans=uses_plans(values),
        )
        self._stage = model.family.load_vocoder(model.folder, model.config, settings)
        self._stage.warm_up()

    def execute(self, requests: list[Any]) -> list[Any]:
        return answer(requests, self._step, VOCODER)

    def _step(self, request: Any) -> Any:
        inputs = inner_inputs(request)
        packed = inputs.array("state")
        if packed is None:
            state = self._stage.start(
                seed=inputs.scalar("seed", 0), speed=inputs.scalar("speed", 1.0)
            )
        else:
            state = self._stage.unpack(packed.tobytes())
        frames = inputs.shaped("frames", self._stage.bins, -1)
        frames = np.zeros((self._stage.bins, 0), np.float32) if frames is None else frames
        cuts = inputs.integers("cuts")
        with ending_when(unwanted(request)):
            wave, state = self._stage.step(
                frames,
                state,
                cuts=() if cuts is None else cuts.tolist(),
                finalize=inputs.flag("finalize"),
            )
        outputs = [tensor("next_state", np.frombuffer(state.to_bytes(), dtype=np.uint8))]
        if len(wave):
            outputs.append(tensor("waveform", wave))
        return response(*outputs)
