"""`config.json` of a model directory: the envelope that every family shares.

    {"format": 2, "family": NAME, "sample_rate": HZ, "default_voice": ID or null, NAME: {...}}

The section under the family's name has every number of the checkpoint; the family's own class, a
subclass of `ModelConfig`, reads it. An unknown key, a missing one or a value of the wrong type is
an error that names the key. Numbers of a deployment (limits, ports, cache sizes) belong elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from tritone.errors import ModelDirectoryError
from tritone.loading.steps import step
from tritone.plain_json import parse_json

CONFIG_NAME = "config.json"
FORMAT: Final = 2


# No checkpoint comes near these; a damaged number must not take all memory, or for ever.
Size = Annotated[int, Field(ge=1, le=1 << 20)]  # of a layer, a vocabulary, a kernel
Count = Annotated[int, Field(ge=1, le=1000)]  # of layers, heads, steps


class Strict(BaseModel):
    """Every key is known, and numbers are finite where a class says nothing else."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class ModelConfig(Strict):
    """What every family's configuration has; sample_rate in Hz. Subclasses add their section."""

    format: Literal[2] = FORMAT
    family: str
    sample_rate: Size
    default_voice: str | None = None

    @classmethod
    def read(cls, model_dir: Path) -> Self:
        """Of MODEL_DIR/config.json. ModelDirectoryError names the file and each key at fault."""
        return cls.of_content(read_content(model_dir), model_dir / CONFIG_NAME)

    @classmethod
    def of_content(cls, content: Mapping[str, Any], path: Path) -> Self:
        """Of what `read_content` read from `path`; raises ModelDirectoryError as `read`."""
        family = content["family"]
        envelope = {name: value for name, value in content.items() if name != family}
        strays = envelope.keys() & (cls.model_fields.keys() - ModelConfig.model_fields.keys())
        if strays:
            raise ModelDirectoryError(f"{path}: {min(strays)} stands outside {family}")
        section = content.get(family, {})
        try:
            return cls.model_validate({**envelope, **section})
        except ValidationError as error:
            raise ModelDirectoryError(f"{path}: {problems(error)}") from error

    def to_content(self) -> dict[str, Any]:
        values = self.model_dump(mode="json")
        envelope = {name: values.pop(name) for name in ModelConfig.model_fields}
        return {**envelope, self.family: values}


def problems(error: ValidationError) -> str:
    """Each key at fault and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()
    )


class Envelope(ModelConfig):
    """The envelope alone, for readers that need no family; the section is not looked at."""

    model_config = ConfigDict(extra="ignore")


def read_content(model_dir: Path) -> dict[str, Any]:
    """The JSON of MODEL_DIR/config.json, of this format and with a family's name.

    ModelDirectoryError says what is wrong with it and what to do.
    """
    path = model_dir / CONFIG_NAME
    with step("config", path):
        if not path.is_file():
            raise ModelDirectoryError(
                f"{path} does not exist: {model_dir} is not a Tritone model directory; "
                "make one with `tritone convert RELEASED_DIR MODEL_DIR`"
            )
        content = parse_json(path)
        if content.get("format") == 1:
            raise ModelDirectoryError(
                f"{path} is of format 1, this version reads format {FORMAT}: run "
                f"`tritone convert --upgrade {model_dir}`"
            )
        family = content.get("family")
        if not isinstance(family, str):
            raise ModelDirectoryError(f"{path}: family is {family!r}; it must name a model family")
        section = content.get(family, {})
        if not isinstance(section, dict):
            kind = type(section).__name__
            raise ModelDirectoryError(
                f"{path}: {family} holds {kind}, expected the section of the family"
            )
        clash = ", ".join(sorted(section.keys() & ModelConfig.model_fields.keys()))
        if clash:
            raise ModelDirectoryError(f"{path}: {family} has {clash}, which stand outside")
        return content
