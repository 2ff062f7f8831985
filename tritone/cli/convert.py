"""tritone convert: from a released checkpoint to a model directory."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tritone.checkpoints.conversion import ConvertOptions, upgrade
from tritone.checkpoints.licences import check_accepted
from tritone.checkpoints.safetensors_file import DType
from tritone.cli.command import refused
from tritone.cli.options import Accepted
from tritone.errors import ModelDirectoryError, TritoneError
from tritone.families import Family, all_families
from tritone.llm.onnx.precision import PRECISIONS

Dtype = Annotated[DType | None, typer.Option(help="of the stored weights (default: as they are)")]
MergedLlm = Annotated[
    Path | None, typer.Option(help="merged LLM directory, if llm.pt is absent", metavar="DIR")
]
Precisions = Annotated[
    list[str],
    typer.Option(
        metavar="PRECISION ...",
        help="graphs of the language model to build for CPUs: none, or of "
        + " ".join(sorted(PRECISIONS)),
    ),
]


def convert(
    released: Annotated[Path, typer.Argument(help="the checkpoint as downloaded")],
    model_dir: Annotated[Path | None, typer.Argument(help="where to write")] = None,
    merged_llm: MergedLlm = None,
    dtype: Dtype = None,
    llm_precision: Precisions = ["int8"],  # noqa: B006
    accept_licence: Accepted = [],  # noqa: B006
    upgrade_: Annotated[
        bool, typer.Option("--upgrade", help="RELEASED is a model directory of an older version")
    ] = False,
) -> int:
    """Convert released files of any known family to a Tritone model directory.

    A run resumes after an interruption; what has not changed is not done
    again. --upgrade brings a model directory of an older version to the
    present format. Exit status: 0 converted and checked, 1 the release cannot
    be converted, 2 the command line is wrong.
    """
    if upgrade_:
        print(upgrade(released))
        return 0
    if model_dir is None:
        return refused("MODEL_DIR is missing: say where to write")
    graphs = tuple(name for name in llm_precision if name != "none")
    unknown = sorted(set(graphs) - set(PRECISIONS))
    if unknown:
        return refused(f"--llm-precision: {unknown[0]!r} is none of {sorted(PRECISIONS)}")
    if not released.is_dir():
        return refused(f"{released} is no folder; fetch a release into it: {_download(released)}")
    try:
        options = ConvertOptions(dtype, graphs, merged_llm)
        family = family_of(released)
        check_accepted(family.licences, accept_licence)
        for line in family.convert(released, model_dir, options):
            print(f"ok  {line}")
    except TritoneError as error:
        return refused(error, 1)
    if line := _kernels():
        print(line)
    print(f"{model_dir} is ready: tritone serve --model {model_dir}")
    return 0


def _kernels() -> str:
    """For the processor that converts, which mostly is the one that serves."""
    from tritone.cli.kernels import built

    return built()


def family_of(released: Path) -> Family[Any]:
    """The family whose released files these are; raises ModelDirectoryError."""
    for family in all_families():
        if family.recognises(released):
            return family
    names = ", ".join(family.name for family in all_families())
    raise ModelDirectoryError(
        f"{released} holds no released files of a known family ({names}); an unfinished download? "
        f"fetch it again: {_download(released)}"
    )


def _download(folder: Path) -> str:
    return f"tritone download --release NAME --dir {folder} (tritone download --help names them)"
