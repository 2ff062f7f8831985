"""tritone convert: from a released checkpoint to a model directory."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from tritone.cli.command import refused, run
from tritone.errors import TritoneError
from tritone.families.cosyvoice2.convert import Conversion, Options
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice2.self_check import self_check
from tritone.llm.onnx.graph import PRECISIONS

Released = Annotated[Path, typer.Argument(help="the checkpoint as downloaded")]
Target = Annotated[Path, typer.Argument(help="where to write")]
MergedLlm = Annotated[
    Path | None, typer.Option(help="merged LLM directory, if llm.pt is absent", metavar="DIR")
]
Dtype = Annotated[
    Literal["fp32", "fp16", "bf16"] | None,
    typer.Option(help="of the stored weights (default: as they are)"),
]
Precisions = Annotated[
    list[str],
    typer.Option(
        metavar="PRECISION ...",
        help="graphs of the language model to build for CPUs: none, or of "
        + " ".join(sorted(PRECISIONS)),
    ),
]
NONE = "none"


def convert(
    upstream_dir: Released,
    model_dir: Target,
    merged_llm: MergedLlm = None,
    dtype: Dtype = None,
    llm_precision: Precisions = ["int8"],  # noqa: B006
) -> int:
    """Convert a released CosyVoice2 directory to a Tritone model directory.

    A run that was broken off continues where it stopped; what has not changed
    is not done again. Exit status: 0 converted and checked, 1 the release
    cannot be converted, 2 the command line is wrong.
    """
    graphs = tuple(name for name in llm_precision if name != NONE)
    unknown = sorted(set(graphs) - set(PRECISIONS))
    if unknown:
        return refused(f"--llm-precision: {unknown[0]!r} is none of {sorted(PRECISIONS)}")
    if not upstream_dir.is_dir():
        fetch = f"fetch a release into it: tritone download --dir {upstream_dir}"
        return refused(f"{upstream_dir} is no folder; {fetch}")
    try:
        source = open_source(upstream_dir, merged_llm)
        options = Options(dtype=dtype, graphs=graphs)
        Conversion(source, model_dir, options).run()
        for line in self_check(model_dir, options.graphs):
            print(f"ok  {line}")
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{model_dir} is ready: tritone serve --model {model_dir}")
    return 0


def main(arguments: Sequence[str], prog: str = "tritone convert") -> int:
    several = ("--llm-precision",)
    return run(convert, arguments, prog, several=several, usual=dict.fromkeys(several, NONE))
