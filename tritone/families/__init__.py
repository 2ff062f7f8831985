"""Model families. A family is one module with one value, `FAMILY`; `config.json` names it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.config import ModelConfig
from tritone.errors import ModelDirectoryError
from tritone.families import read_config

if TYPE_CHECKING:
    from torch import Tensor

    from tritone.families.cosyvoice2.flow import Flow
    from tritone.families.cosyvoice2.vocoder import Vocoder


@dataclass(frozen=True)
class Family:
    """The code of a family; its numbers are in ModelConfig.

    load_flow and load_vocoder take (model directory, configuration) and return modules in float32
    on the CPU, ready for inference. start_noise gives the flow's noise buffer (frames, mel).
    """

    load_flow: Callable[[Path, ModelConfig], "Flow"]
    load_vocoder: Callable[[Path, ModelConfig], "Vocoder"]
    start_noise: Callable[[ModelConfig], "Tensor"]


def family_of(model_dir: Path) -> tuple[Family, ModelConfig]:
    """The family and configuration of a model directory; raises ModelDirectoryError."""
    config = read_config(model_dir)
    if not re.fullmatch(r"[a-z][a-z0-9]*", config.family):
        raise ModelDirectoryError(f"family {config.family!r} in {model_dir} is not a family name")
    try:
        module = import_module(f"{__name__}.{config.family}")
    except ModuleNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py")))
        raise ModelDirectoryError(
            f"{model_dir} is of the unknown family {config.family!r}; known are {known}"
        ) from error
    family = module.FAMILY
    assert isinstance(family, Family)
    return family, config
