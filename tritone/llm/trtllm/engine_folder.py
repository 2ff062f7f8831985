"""A TensorRT-LLM engine: rank0.engine and config.json in MODEL_DIR/engines/<fingerprint>/llm."""

from dataclasses import dataclass
from pathlib import Path

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.plain_json import parse_json

_BUILD = "build one with `tritone engines`"


@dataclass(frozen=True)
class TrtEngine:
    """version: of the TensorRT-LLM that built it. positions: of one sequence, prompt included."""

    path: Path
    version: str
    vocab_size: int
    world_size: int
    max_batch_size: int
    max_input_len: int
    positions: int


def find_engine(model_dir: Path, engine_dir: str = "") -> Path:
    """`engine_dir` if given, else the only engine of the model directory.

    Raises ModelDirectoryError when there is none, or several to choose from.
    """
    if engine_dir:
        if not (Path(engine_dir) / "config.json").is_file():
            raise ModelDirectoryError(f"engine_dir {engine_dir} has no config.json; {_BUILD}")
        return Path(engine_dir)
    pattern = "engines/*/llm/config.json"
    found = sorted(path.parent for path in model_dir.glob(pattern))
    if not found:
        raise ModelDirectoryError(
            f"{model_dir} has no TensorRT-LLM engine ({pattern}): {_BUILD} on the GPU that serves"
        )
    if len(found) > 1:
        raise ModelDirectoryError(
            f"{model_dir} has several TensorRT-LLM engines, {', '.join(map(str, found))}: name one "
            "with the parameter engine_dir, or remove those of other GPUs and versions"
        )
    return found[0]


def read_engine(path: Path) -> TrtEngine:
    """The numbers in an engine's config.json; raises ModelDirectoryError if one is missing."""
    file = path / "config.json"
    try:
        config = parse_json(file)
        pretrained, build = config["pretrained_config"], config["build_config"]
        return TrtEngine(
            path=path,
            version=str(config["version"]),
            vocab_size=int(pretrained["vocab_size"]),
            world_size=int(pretrained["mapping"]["world_size"]),
            max_batch_size=int(build["max_batch_size"]),
            max_input_len=int(build["max_input_len"]),
            positions=int(build["max_seq_len"]),
        )
    except (ModelDirectoryError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelDirectoryError(
            f"{file} is not the configuration of an engine ({type(error).__name__}: {error}); "
            f"{_BUILD}"
        ) from error


def check_engine(engine: TrtEngine, *, vocab_size: int, slots: int, version: str) -> None:
    """Refuse an engine of another model or version, or one too small for `slots`.

    version: of the installed TensorRT-LLM. Raises ModelDirectoryError or EnvironmentProblem.
    """
    if engine.version != version:
        raise EnvironmentProblem(
            f"{engine.path} was built by TensorRT-LLM {engine.version} and {version} is installed; "
            f"engines fit their own version alone: {_BUILD}"
        )
    if engine.vocab_size != vocab_size:
        raise ModelDirectoryError(
            f"{engine.path} has {engine.vocab_size} ids, the checkpoint {vocab_size}: it is of "
            f"another model; {_BUILD}"
        )
    if engine.world_size != 1:
        raise ModelDirectoryError(
            f"{engine.path} is built for {engine.world_size} GPUs, this runtime uses one: build it "
            "with --tp_size 1"
        )
    if engine.max_batch_size < slots:
        raise EnvironmentProblem(
            f"slots is {slots}, but {engine.path} was built for max_batch_size "
            f"{engine.max_batch_size}: lower the parameter slots, or build a larger engine"
        )
