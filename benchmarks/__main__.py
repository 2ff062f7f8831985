"""How fast a model is on this CPU, stage by stage, and how much of what the machine allows that is.

    tritone bench                                     # the embedded voice; python -m benchmarks too
    tritone bench --full-size cosyvoice3              # the released sizes, random weights
    tritone bench --against earlier/bench.json        # old over new beside each figure
    tritone bench --model models/cosyvoice2 --parts served --streams 1 4 8

First the peaks of one thread: memory read, and products in float32, bfloat16 and int8. A stage's
share is the time that they allow for its work over the time that it took.

Parts that are measured without --parts: llm (prefill by products, decoding steps by the reading of
all weights), stages (flow encoder, estimator step, vocoder; by products), sentence (RTF and first
packet in this process, on one core and two; on more they are modelled, and said to be).
The others hold the model against baselines: recomputed (flow and vocoder of --seconds as upstream
computes them), eager (Hugging Face's decoding; needs transformers), growth (cost of a chunk as
speech grows), served (through Triton, and several streams at once), memory (of a server alone,
while one stream of --seconds is spoken), fidelity (what precisions and knobs change); all for all.
Rounds are taken in turn, medians are shown. Seconds of CPU count all threads.

A running server is measured instead with --url, --manifest or --text; `tritone bench --url
HOST:PORT --help` tells how. Writes bench.json and plots to --out.
Exit status: 0 measured, 2 something is missing.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import chunks, end_to_end, fidelity, language_model, peaks, sentence, stages
from benchmarks.baseline import eager_decode_seconds
from benchmarks.earlier import Earlier
from benchmarks.figures import Figure, figure, ratio, table, write
from benchmarks.full_size import COSYVOICE2, FULL_SIZE
from benchmarks.parts import PROMPT_TOKENS, Acoustics
from benchmarks.served_model import SENTENCE, write_served_model
from benchmarks.streams import some_prompt
from tritone.acoustic.placement import FlowSettings
from tritone.compute import torch_dtype
from tritone.config import CONFIG_NAME
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.families import open_model
from tritone.families.contract import Model
from tritone.llm.checkpoint import LLM_DIR
from tritone.llm.onnx.precision import PRECISIONS
from tritone.resources import embedded_voice


class Bench:
    """One model; each method measures one part."""

    def __init__(self, args: argparse.Namespace, model: Path, allowed: peaks.Peaks) -> None:
        self._args, self._model, self._peaks = args, open_model(model), allowed

    def llm(self) -> list[Figure]:
        how = (self._args.streams, self._args.steps, self._peaks)
        return [
            one
            for precision in self._args.precision
            for one in language_model.figures_of(self._coded, precision, *how)
        ]

    def stages(self) -> list[Figure]:
        return stages.figures_of(self._acoustics, self._peaks, self._args.rounds)

    def sentence(self) -> list[Figure]:
        ways, dtype = sentence.WAYS, torch_dtype(self._args.dtype)
        ways = {
            name: replace(way, flow=replace(way.flow, dtype=dtype)) for name, way in ways.items()
        }
        found = sentence.figures_of(self._model.folder, SENTENCE, self._args.rounds, ways)
        if find_spec("matplotlib"):
            sentence.plot(
                found, list(ways), self._args.out / f"cores-{self._model.family.name}.png"
            )
        else:
            print("no plot of the cores: pip install 'matplotlib>=3.8'", file=sys.stderr)
        return found

    def recomputed(self) -> list[Figure]:
        return self._acoustics.against_recomputing(self._args.seconds, self._args.rounds)

    def eager(self) -> list[Figure]:
        """Hugging Face and ours decode after the same prompt."""
        prompt, _ = some_prompt(self._coded.config, PROMPT_TOKENS)
        steps = self._args.steps
        theirs = figure(
            "LLM, Hugging Face eager float32, a step",
            "s of CPU",
            eager_decode_seconds(self._model.folder / LLM_DIR, prompt, steps),
        )
        precision = self._args.precision[0]
        ours = language_model.figures_of(self._model, precision, [1], steps, self._peaks)[-1]
        return [theirs, ratio("  eager over ours", theirs, ours, "at least 5")]

    def growth(self) -> list[Figure]:
        bounded = f"{self._args.left_chunks} chunks in view"
        kinds = {
            "all of the past": self._acoustics,
            bounded: self._with_view(self._args.left_chunks),
        }
        grown = chunks.growth(kinds, self._args.rounds)
        chunks.plot(grown, self._args.out / f"chunks-{self._model.family.name}.png")
        return chunks.figures_of(grown, bounded)

    def served(self) -> list[Figure]:
        model = self._model.folder
        with end_to_end.in_process(model, SENTENCE) as here:
            here(0)
            with end_to_end.served(model, SENTENCE) as there:
                there(0)
                figures = end_to_end.side_by_side(here, there, self._args.rounds)
                return figures + end_to_end.many(there, self._args.streams, self._args.rounds)

    def memory(self) -> list[Figure]:
        return end_to_end.memory(self._model.folder, SENTENCE)

    def fidelity(self) -> list[Figure]:
        speech = fidelity.spoken(self._model)
        precisions = [name for name in PRECISIONS if name != "fp32"]
        return [
            *fidelity.of_language_model(self._model, precisions, speech),
            *fidelity.of_flow(self._model, speech),
            *fidelity.of_solvers(self._model, speech),
            *fidelity.of_vocoder(self._model, speech),
        ]

    def labelled(self, one: Figure) -> Figure:
        """The figure of one family among those of others."""
        return replace(one, name=f"{self._model.family.name}: {one.name.strip()}")

    @cached_property
    def _acoustics(self) -> Acoustics:
        return self._with_view(0)

    def _with_view(self, left_chunks: int) -> Acoustics:
        settings = FlowSettings(left_chunks, dtype=torch_dtype(self._args.dtype))
        return Acoustics(self._coded, settings)

    @property
    def _coded(self) -> Model:
        """The model, of a family whose stages are measured here."""
        if (name := self._model.family.name) not in FULL_SIZE:
            raise EnvironmentProblem(
                f"{self._model.folder} is of the family {name}, whose stages are other ones: "
                "for indextts2 there is `python -m benchmarks.indextts2 --model DIR`"
            )
        return self._model


YARDSTICK = ("llm", "stages", "sentence")
BASELINES = ("recomputed", "eager", "growth", "served", "memory", "fidelity")
PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    name: getattr(Bench, name) for name in (*YARDSTICK, *BASELINES)
}


def arguments(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    measured = parser.add_mutually_exclusive_group()
    measured.add_argument("--model", type=Path, help="model directory (the embedded voice)")
    measured.add_argument(
        "--full-size",
        "--family",
        nargs="*",
        choices=FULL_SIZE,
        metavar="FAMILY",
        help=f"random weights of the released sizes: {', '.join(FULL_SIZE)} (the first)",
    )
    add = parser.add_argument
    add("--parts", nargs="+", choices=[*PARTS, "all"], default=YARDSTICK, help="see above")
    add("--precision", nargs="+", default=["int8"], help="of the language model")
    add("--dtype", default="auto", help="of flow and vocoder: auto, fp32, bf16")
    add("--streams", type=int, nargs="+", default=[1, 4, 8], help="at once (1 4 8)")
    add("--steps", type=int, default=20, help="of decoding (20)")
    add("--seconds", type=float, default=10.0, help="of speech (10)")
    add("--left-chunks", type=int, default=4, help="in view, of the part growth (4)")
    add("--rounds", type=int, default=3, help="(3)")
    add("--threads", type=int, default=1, help="of flow and vocoder; a sentence has one (1)")
    add("--out", type=Path, default=Path("bench"), help="folder of what is written (bench)")
    add("--against", type=Path, metavar="FILE", help="the bench.json of an earlier run")
    return parser


def models(args: argparse.Namespace) -> list[Path]:
    if args.full_size is None:
        return [args.model or embedded_voice()]
    return [full_size(args, name) for name in args.full_size or [COSYVOICE2.family]]


def full_size(args: argparse.Namespace, family: str) -> Path:
    """The model directory of random weights, written unless it is there."""
    model: Path = args.out / f"full-size-{family}-{args.seconds:g}s"
    if not (model / CONFIG_NAME).is_file():
        write_served_model(model, args.seconds, FULL_SIZE[family])
    return model


def measured(args: argparse.Namespace, allowed: peaks.Peaks, folders: list[Path]) -> list[Figure]:
    """The parts in turn, each of every model."""
    benches = [Bench(args, model, allowed) for model in folders]
    names = list(PARTS) if "all" in args.parts else args.parts
    work = [(name, bench) for name in names for bench in benches]
    figures = allowed.figures()
    with tqdm(work, unit="part") as bar:
        for name, bench in bar:
            bar.set_description(name)
            found = PARTS[name](bench)
            figures += [bench.labelled(one) for one in found] if len(benches) > 1 else found
    return figures


def main(given: Sequence[str] | None = None, prog: str = "python -m benchmarks") -> int:
    """The command, by default with the arguments of this process."""
    args = arguments(prog).parse_args(given)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        load = os.getloadavg()  # of others
        earlier = Earlier.read(args.against) if args.against else None
        folders = models(args)
        print("measuring the peaks of one thread", file=sys.stderr)
        allowed = peaks.measured()
        figures = measured(args, allowed, folders)
    except (TritoneError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(figures, earlier.values if earlier else None))
    if earlier and (note := earlier.note(allowed.figures())):
        print(note)
    settings = {
        k: v for k, v in vars(args).items() if k not in ("model", "full_size", "out", "against")
    }
    about = {"models": [model.name for model in folders], "load": load}
    path = args.out / "bench.json"
    write(path, figures, **about, settings=settings)
    print(f"wrote {path}; hold another run against it with --against {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
