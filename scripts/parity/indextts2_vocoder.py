"""Our vocoder of IndexTTS2 against a golden folder that upstream's classes made."""

from collections.abc import Iterator
from pathlib import Path

import torch

from parity import ParityResult
from parity.golden import Golden
from parity.indextts2_acoustic import compared, released
from tritone.acoustic.weights import load_strictly
from tritone.families.indextts2.acoustic_config import VocoderConfig
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.released_bigvgan import vocoder_weights
from tritone.families.indextts2.snake import Snake, lowpass

NAME = "bigvgan"


def load_network(case: Golden) -> BigVGAN:
    numbers = case.about["h"]
    config = VocoderConfig(
        mel=numbers["num_mels"],
        channels=numbers["upsample_initial_channel"],
        upsample_rates=numbers["upsample_rates"],
        upsample_kernels=numbers["upsample_kernel_sizes"],
        block_kernels=numbers["resblock_kernel_sizes"],
        block_dilations=numbers["resblock_dilation_sizes"],
        tanh_at_final=numbers["use_tanh_at_final"],
        bias_at_final=numbers["use_bias_at_final"],
    )
    network = BigVGAN(config).eval()
    state = vocoder_weights(released(case), len(config.block_kernels))
    load_strictly(network, state, NAME)
    return network


def _vocoder(case: Golden) -> Iterator[ParityResult]:
    network = load_network(case)
    yield compared(f"{case.name} filter", lowpass(), case["filter12"].flatten())
    first = network.get_submodule("stages.0.blocks.0.snakes1.0")
    assert isinstance(first, Snake)
    doubled = first.doubled(case["act_in"])
    yield compared(f"{case.name} doubled", doubled, case["act_upsampled"])
    yield compared(f"{case.name} snake", first.bent(doubled), case["act_after_snake"])
    yield compared(f"{case.name} activation", first(case["act_in"]), case["act_out"])
    for key in sorted(key for key in case.tensors if key.startswith("wav")):
        mel = case["mel" + key.removeprefix("wav").removesuffix("_folded")]
        yield compared(f"{case.name} {key}", network(mel)[:, None], case[key])


def cases(folder: Path) -> Iterator[ParityResult]:
    if (folder / f"{NAME}.safetensors").is_file():
        with torch.inference_mode():
            yield from _vocoder(Golden(folder, NAME))
