"""CosyVoice2's numbers: from `cosyvoice2.yaml`, and from the weights where the file is silent."""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from tritone.acoustic.solver_config import SolverConfig
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.config import Strict
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import (
    EstimatorConfig,
    FlowConfig,
    FlowEncoderConfig,
    VocoderConfig,
)
from tritone.llm.config import SamplingConfig

StrictT = TypeVar("StrictT", bound=Strict)

_READERS = {
    int: YamlValues.integer,
    float: YamlValues.number,
    tuple[int, ...]: YamlValues.integers,
    tuple[tuple[int, ...], ...]: YamlValues.integer_lists,
}


def flow_config(values: YamlValues, keys: Iterable[str]) -> FlowConfig:
    """keys: of `flow.pt`; the number of blocks after upsampling stands nowhere else."""
    estimator = ("flow", "decoder", "estimator")
    params = ("flow", "decoder", "cfm_params", "content")
    for name, wanted in (("solver", "euler"), ("t_scheduler", "cosine")):
        found = values.value(*params, name)
        if found != wanted:
            raise ModelDirectoryError(f"{values.path}: {name} is {found!r}; only {wanted!r} works")
    channels = values.integers(*estimator, "channels")
    if len(channels) != 1:
        raise ModelDirectoryError(
            f"{values.path}: the estimator has channels {list(channels)}; CosyVoice2 has one width"
        )
    blocks = _blocks(keys, r"encoder\.up_encoders\.(\d+)\.")
    return _read(
        FlowConfig,
        values,
        "flow",
        chunk_size=values.integer("chunk_size"),
        encoder=_read(FlowEncoderConfig, values, "flow", "encoder", num_up_blocks=blocks),
        estimator=_read(EstimatorConfig, values, *estimator, channels=channels[0]),
        solver=SolverConfig(inference_cfg_rate=values.number(*params, "inference_cfg_rate")),
    )


def vocoder_config(values: YamlValues) -> VocoderConfig:
    return _read(
        VocoderConfig,
        values,
        "hift",
        istft_n_fft=values.integer("hift", "istft_params", "n_fft"),
        istft_hop=values.integer("hift", "istft_params", "hop_len"),
        f0_channels=values.integer("hift", "f0_predictor", "cond_channels"),
    )


def sampling_config(values: YamlValues) -> SamplingConfig:
    """Repetition-aware sampling as the file gives it; its documented values where it does not."""
    where = ("llm", "sampling")
    if not values.has(*where):
        return SamplingConfig()
    return SamplingConfig(
        top_k=values.integer(*where, "top_k"),
        top_p=values.number(*where, "top_p"),
        repetition_window=values.integer(*where, "win_size"),
        repetition_threshold=values.number(*where, "tau_r"),
    )


def _read(model: type[StrictT], values: YamlValues, *where: str, **given: Any) -> StrictT:
    """A section of the configuration: what is not given stands in the file under its own name."""
    for name, field in model.model_fields.items():
        if name not in given:
            given[name] = _READERS[field.annotation](values, *where, name)  # type: ignore[index]
    return model(**given)


def _blocks(keys: Iterable[str], pattern: str) -> int:
    indices = {int(match[1]) for match in (re.match(pattern, key) for key in keys) if match}
    if indices != set(range(len(indices))) or not indices:
        raise ModelDirectoryError(f"flow.pt: blocks {sorted(indices)} of {pattern} are not 0..n")
    return len(indices)
