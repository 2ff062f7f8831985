"""tritone engines: the engines of a model directory for this machine's GPU, each judged."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tritone.arrays import Int32
from tritone.cli.command import refused
from tritone.engines.build import DTYPES, build_tasks, problems
from tritone.engines.machine import this_machine
from tritone.engines.sources import LLM, Sources
from tritone.engines.tasks import Outcome, Task, run_tasks, table
from tritone.errors import InvalidRequest, TritoneError
from tritone.families import Model, open_model
from tritone.llm.config import decoder_config

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="show every command and profile, and do nothing")
]
Force = Annotated[bool, typer.Option("--force", help="build what is there again")]
Verbose = Annotated[bool, typer.Option("--verbose", help="TensorRT's own messages too")]


@dataclass(frozen=True)
class Asked:
    """What is built, and how."""

    dtype: Annotated[
        str,
        typer.Option(
            help=f"of matrix products, keys and values: {', '.join(DTYPES)} "
            "(GPUs before Ampere: float16)"
        ),
    ] = DTYPES[0]
    parts: Annotated[
        str,
        typer.Option(
            metavar="NAME,..",
            help="parts, whole, or single graphs, to build (those that a server runs)",
        ),
    ] = ""
    export_only: Annotated[
        bool, typer.Option("--export-only", help="only the ONNX exports and their check")
    ] = False


def engines(
    model_dir: Annotated[Path, typer.Argument(help="as `tritone convert` wrote it")],
    asked: Asked,
    dry_run: DryRun = False,
    force: Force = False,
    verbose: Verbose = False,
) -> int:
    """Build the engines of a model directory for this machine's GPU.

    TensorRT-LLM's engine of the language model, and ONNX exports and TensorRT
    plans of the networks that a server runs; other graphs are built by name.
    What is done already is not done again. --dry-run and --export-only need
    neither a GPU nor TensorRT.

    Exit status: 0 all is there, 1 something failed or was refused by its gate,
    2 the build could not start.
    """
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level)
    if asked.dtype not in DTYPES:
        return refused(f"--dtype: {asked.dtype!r} is none of {', '.join(DTYPES)}")
    model = open_model(model_dir)
    given = model.family.graph_source(model.folder, model.config)
    if given is None:
        return refused(f"{model.folder}: engines are not built for {model.family.name}")
    all_sources = partial(Sources, model.folder, decoder_config(model.language_model), given)
    chosen, graphs = chosen_parts(asked.parts, all_sources(), asked.export_only)
    sources = all_sources(lambda graph: graph.name in graphs)
    found = problems(sources, chosen, asked.dtype, export_only=asked.export_only)
    if found and not dry_run:
        return max(refused(problem) for problem in found)
    machine = None if found or asked.export_only else this_machine()
    prompt, only = partial(_example_ids, model), asked.export_only
    tasks = build_tasks(
        sources, chosen, asked.dtype, machine, export_only=only, example_prompt=prompt
    )
    if dry_run:
        show(tasks, found)
        return 0
    return build(tasks, model_dir, force=force, export_only=asked.export_only)


def _example_ids(model: Model, text_ids: Int32) -> Int32:
    ids = model.family.example_prompt(model.config, text_ids).ids
    assert ids is not None, "engines are built of language models that take ids"
    return ids


def show(tasks: Sequence[Task], found: Sequence[TritoneError]) -> None:
    """Every command and profile, and where the build would stop."""
    for task in tasks:
        print("\n    ".join([task.name, *task.plan]))
    if found:
        print("\n  - ".join(["\nHere the build would stop:", *map(str, found)]))


def chosen_parts(
    text: str, sources: Sources, export_only: bool
) -> tuple[tuple[str, ...], frozenset[str]]:
    """The parts of a list of names, and their graphs that are to be built: all of a part that is
    named, and those that a server runs where nothing is. Of the language model there is nothing to
    export."""
    known = {part: sources.outlines(part) for part in sources.parts}
    names = [name.strip() for name in text.split(",")] if text else list(known)
    every = [graph.name for graphs in known.values() for graph in graphs]
    if unknown := [name for name in names if name not in (*known, *every)]:
        raise InvalidRequest(
            "--parts",
            f"unknown part {unknown[0]!r}; parts are {', '.join(known)}, and their graphs "
            f"{', '.join(every)}",
        )
    chosen = {
        part: {g.name for g in graphs if (g.served or text) and {part, g.name}.intersection(names)}
        for part, graphs in known.items()
    }
    kept = tuple(part for part in known if chosen[part] or (part == LLM in names))
    kept = tuple(part for part in kept if not (export_only and part == LLM))
    if not kept:
        others = " and ".join(part for part in known if part != LLM)
        raise InvalidRequest("--parts", f"--export-only exports {others}, and this names neither")
    return kept, frozenset().union(*chosen.values())


def build(tasks: Sequence[Task], model_dir: Path, *, force: bool, export_only: bool) -> int:
    """Run the tasks under a bar; each is reported as it ends. The exit status."""
    outcomes: list[Outcome] = []
    with tqdm(total=len(tasks), unit="step") as bar, logging_redirect_tqdm():
        for outcome in run_tasks(tasks, force=force):
            outcomes.append(outcome)
            bar.write(f"{outcome.name}: {outcome.state}, {outcome.said}")
            bar.update()
    failed = [outcome for outcome in outcomes if outcome.state in ("failed", "skipped")]
    if failed:
        names = ", ".join(outcome.name for outcome in failed)
        after = f"Not built: {names}. What was built stays; run the same command again."
    elif export_only:
        after = f"Next, on the machine with the GPU: tritone engines {model_dir}"
    else:
        after = f"Next: tritone serve --model {model_dir} --profile gpu"
    print("\n".join(["", *table(outcomes), after]))
    return 1 if failed else 0
