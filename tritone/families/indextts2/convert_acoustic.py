"""The released files of flow and vocoder to those of a model directory."""

from typing import Any

import torch
from torch import Tensor

from tritone.acoustic.weights import load_network
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2 import released_files as files
from tritone.families.indextts2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.conversion_part import ConversionPart, read_state
from tritone.families.indextts2.flow import FlowNetwork
from tritone.families.indextts2.released_acoustic_numbers import flow_config, vocoder_config
from tritone.families.indextts2.released_bigvgan import vocoder_weights
from tritone.families.indextts2.released_front_numbers import codec_config
from tritone.families.indextts2.released_s2mel import PARTS, flow_weights
from tritone.families.indextts2.voice_reader import CODEC_FILE


class AcousticConversion(ConversionPart):
    """The steps of the acoustic half, which follow those of the front half: the flow has a table
    of what the codec's codes stand for."""

    def steps(self) -> list[Step]:
        flow = [files.S2MEL, files.CODEC, files.YAML]
        vocoder = [files.BIGVGAN, files.BIGVGAN_NUMBERS]
        return [
            self._step("flow", self.flow, flow, [FLOW_FILE]),
            self._step("vocoder", self.vocoder, vocoder, [VOCODER_FILE]),
        ]

    def flow(self) -> dict[str, Any]:
        net, codebook = self._net(), self._codebook()
        config = flow_config(self._values, net, len(codebook))
        self._save(flow_weights(net, codebook), FLOW_FILE, lambda: FlowNetwork(config))
        return config.model_dump(mode="json")

    def vocoder(self) -> dict[str, Any]:
        config = vocoder_config(self._released / files.BIGVGAN_NUMBERS)
        released = read_state(self._released / files.BIGVGAN, part="generator")
        state = vocoder_weights(released, len(config.block_kernels))
        self._save(state, VOCODER_FILE, lambda: BigVGAN(config))
        return config.model_dump(mode="json")

    def _net(self) -> dict[str, dict[str, Tensor]]:
        """The parts that are read, still in the file, which has as much again beside them."""
        path = self._released / files.S2MEL
        net = plain_tensors(path, mmap=True).get("net")
        parts = {name: net[name] for name in PARTS if name in net} if isinstance(net, dict) else {}
        for name, part in parts.items():
            if not isinstance(part, dict) or not all(isinstance(v, Tensor) for v in part.values()):
                raise ModelDirectoryError(f"{path}: {name} is not a plain state dict of tensors")
        return parts

    @torch.inference_mode()
    def _codebook(self) -> Tensor:
        """(codes, width) of the converted codec."""
        config = codec_config(self._values)
        codec = load_network(lambda: SemanticCodec(config), self._target / CODEC_FILE)
        return codec.code_book.embed(torch.arange(config.codes))
