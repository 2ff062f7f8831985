"""How fast a model is on this CPU, part by part and end to end, against stated baselines.

    python -m benchmarks                        # the full size, random weights, and a baseline
    python -m benchmarks --family cosyvoice2 cosyvoice3 --parts stages memory
    python -m benchmarks --model checkpoints/embedded --parts served --streams 1 4 8

Parts: llm (prefill and decoding steps), stages (encoder, estimator, vocoder; the same work
recomputed as upstream does it), growth (cost of a chunk as speech grows), served (end to end in
this process and through Triton, and several streams at once), memory (of a server alone, while one
stream of --seconds is spoken), eager (Hugging Face's decoding; needs transformers), fidelity (what
precisions and knobs change, against float32). Rounds are taken in turn, medians are shown. Seconds
of CPU count all threads. Writes bench.json and plots to --out.
Exit status: 0 measured, 2 something is missing.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import chunks, end_to_end, fidelity, parts
from benchmarks.baseline import eager_decode_seconds
from benchmarks.figures import Figure, figure, ratio, table, write
from benchmarks.full_size import COSYVOICE2, FULL_SIZE
from benchmarks.served_model import SENTENCE, write_served_model
from benchmarks.streams import some_prompt
from tritone.acoustic.placement import FlowSettings
from tritone.compute import torch_dtype
from tritone.config import CONFIG_NAME
from tritone.errors import TritoneError
from tritone.families import open_model
from tritone.llm.checkpoint import LLM_DIR


class Bench:
    """One model; each method measures one part."""

    def __init__(self, args: argparse.Namespace, model: Path) -> None:
        self._args, self._model = args, open_model(model)

    def llm(self) -> list[Figure]:
        return [
            one
            for precision in self._args.precision
            for one in parts.language_model(
                self._model, precision, self._args.streams, self._args.steps
            )
        ]

    def eager(self) -> list[Figure]:
        """Hugging Face and ours decode after the same prompt."""
        prompt, _ = some_prompt(self._model.config, parts.PROMPT_TOKENS)
        steps = self._args.steps
        theirs = figure(
            "LLM, Hugging Face eager float32, a step",
            "s of CPU",
            eager_decode_seconds(self._model.folder / LLM_DIR, prompt, steps),
        )
        ours = parts.language_model(self._model, self._args.precision[0], [1], steps)[-1]
        return [theirs, ratio("  eager over ours", theirs, ours, "at least 5")]

    def stages(self) -> list[Figure]:
        acoustics = self._acoustics(0)
        seconds = self._args.seconds
        return [
            *acoustics.steps(seconds),
            *acoustics.against_recomputing(seconds, self._args.rounds),
        ]

    def growth(self) -> list[Figure]:
        bounded = f"{self._args.left_chunks} chunks in view"
        kinds = {
            "all of the past": self._acoustics(0),
            bounded: self._acoustics(self._args.left_chunks),
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
        speech, precisions = fidelity.spoken(self._model), ["int8", "int4", "int4_b128"]
        return [
            *fidelity.of_language_model(self._model, precisions, speech),
            *fidelity.of_flow(self._model, speech),
            *fidelity.of_solvers(self._model, speech),
            *fidelity.of_vocoder(self._model, speech),
        ]

    def labelled(self, one: Figure) -> Figure:
        """The figure of one family among those of others."""
        return replace(one, name=f"{self._model.family.name}: {one.name.strip()}")

    def _acoustics(self, left_chunks: int) -> parts.Acoustics:
        settings = FlowSettings(left_chunks, dtype=torch_dtype(self._args.dtype))
        return parts.Acoustics(self._model, settings)


PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    name: getattr(Bench, name)
    for name in ("llm", "eager", "stages", "growth", "served", "memory", "fidelity")
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, help="model directory (full size, random weights)")
    parser.add_argument(
        "--family", nargs="+", choices=FULL_SIZE, default=[COSYVOICE2.family], help="of those"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--precision", nargs="+", default=["int8"], help="of the language model")
    parser.add_argument("--dtype", default="auto", help="of flow and vocoder: auto, fp32, bf16")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--steps", type=int, default=20, help="of decoding")
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech")
    parser.add_argument("--left-chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of flow and vocoder")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    return parser


def full_size(args: argparse.Namespace, family: str) -> Path:
    """The model directory of random weights, written unless it is there."""
    model: Path = args.out / f"full-size-{family}-{args.seconds:g}s"
    if not (model / CONFIG_NAME).is_file():
        write_served_model(model, args.seconds, FULL_SIZE[family])
    return model


def main() -> int:
    args = arguments().parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    try:
        models = [args.model] if args.model else [full_size(args, name) for name in args.family]
        benches = [Bench(args, model) for model in models]
        for name in args.parts:
            for bench in benches:
                found = PARTS[name](bench)
                figures += [bench.labelled(one) for one in found] if len(benches) > 1 else found
    except (TritoneError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(figures))
    settings = {k: v for k, v in vars(args).items() if k not in ("model", "out")}
    names = [model.name for model in models]
    write(args.out / "bench.json", figures, models=names, settings=settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
