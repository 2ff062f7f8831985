"""IndexTTS2's language model on this CPU: float32 beside int8, in turn.

    python -m benchmarks.indextts2_gpt    # --layers 24 --codes 40 --streams 1 --threads 1

At the size of the release, with random weights, which are written to --work (1.7 GB) with both
graphs (2.2 GB) and kept: cost does not depend on values. Errors do: random weights have no
direction that matters, and what trained ones lose is to be measured on them. Latents and logits are
those of the same codes, given, against float32. Speech has 50 codes a second. Prints a table and
writes indextts2_gpt.json to --out.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.figures import figure, ratio, table, write
from tritone.arrays import Float32
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.gpt_graph import GptGraph
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.llm.onnx.graph import build
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.slots import OnnxSlots

ROUNDS = 3
PRECISIONS = ("fp32", "int8")
PROMPT_ROWS = 34 + 40  # of the speaker, and of a sentence
_DEVIATION = 0.02  # of GPT-2's weights before training


def write_weights(path: Path, config: GptConfig) -> None:
    """Drawn as before training; norms are ones."""
    draw = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        state = Gpt(config).state_dict()
    drawn = {}
    for name, like in state.items():
        if "norm" in name:
            drawn[name] = torch.full(like.shape, float(name.endswith("weight")))
        else:
            drawn[name] = _DEVIATION * torch.randn(like.shape, generator=draw)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(drawn, path)


def opened(args: argparse.Namespace, config: GptConfig, precision: str) -> PairedSlots:
    weights, graph = args.work / DECODER_FILE, graph_path(args.work, precision)
    if not graph.is_file():
        build(GptGraph, args.work, config, precision, graph, weights)
    session = OnnxSlots(
        args.work,
        config,
        precision=precision,
        slots=2 * args.streams,
        slot_length=PROMPT_ROWS + args.codes,
        threads=args.threads,
        weights=weights,
    )
    return PairedSlots(session)


class Run:
    """codes_s: of all streams. prompt_s: to read one. latents, logits: of the first stream."""

    def __init__(self, session: PairedSlots, inputs: Float32, prompt: Float32) -> None:
        began = time.perf_counter()
        for slot in range(session.slots):
            session.prefill(slot, prompt)
        self.prompt_s = (time.perf_counter() - began) / session.slots
        lengths = np.full(session.slots, len(prompt), np.int32)
        latents, logits = [], []
        began = time.perf_counter()
        for given in inputs:
            drawn_by = session.decode(np.repeat(given[None], session.slots, 0), lengths)
            logits.append(drawn_by[0].copy())
            latents.append(session.latent(0))
            lengths += 1
        self.codes_s = session.slots * len(inputs) / (time.perf_counter() - began)
        self.latents, self.logits = np.stack(latents), np.stack(logits)


def error(found: Float32, exact: Float32) -> float:
    """Of the whole, relative, in per cent."""
    return 100 * float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.indextts2_gpt", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("--layers", type=int, default=24, help="of the decoder (24)")
    add("--codes", type=int, default=40, help="of each round (40)")
    add("--streams", type=int, default=1, help="that speak together (1)")
    add("--threads", type=int, default=1, help="of one operator (1)")
    add("--work", type=Path, default=Path("bench/indextts2-gpt"))
    add("--out", type=Path, default=Path("bench"))
    return parser.parse_args()


def main() -> None:
    args = options()
    config = GptConfig(layers=args.layers)
    args.work, weights = args.work / str(args.layers), args.work / str(args.layers) / DECODER_FILE
    if not weights.is_file():
        write_weights(weights, config)
    draw = np.random.default_rng(0)
    prompt, inputs = (
        draw.standard_normal(shape).astype(np.float32)
        for shape in ((PROMPT_ROWS, config.width), (args.codes, 2 * config.width))
    )
    sessions = {precision: opened(args, config, precision) for precision in PRECISIONS}
    runs: dict[str, list[Run]] = {precision: [] for precision in PRECISIONS}
    for _ in range(ROUNDS):
        for precision, session in sessions.items():
            runs[precision].append(Run(session, inputs, prompt))
            print(f"{precision}: {runs[precision][-1].codes_s:.2f} codes/s", flush=True)
    codes, prompts = (
        {
            name: figure(f"{name}, {what}", unit, [getattr(r, own) for r in runs[name]])
            for name in runs
        }
        for what, unit, own in (("codes", "/s", "codes_s"), ("a prompt", "s", "prompt_s"))
    )
    figures = [*codes.values(), *prompts.values()]
    figures.append(ratio("int8 over fp32, codes", codes["int8"], codes["fp32"]))
    (exact, *_), (rounded, *_) = runs["fp32"], runs["int8"]
    figures.append(figure("int8, latents", "%", [error(rounded.latents, exact.latents)]))
    figures.append(figure("int8, logits", "%", [error(rounded.logits, exact.logits)]))
    print(table(figures))
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(args).items()}
    write(args.out / "indextts2_gpt.json", figures, load=os.getloadavg(), settings=settings)


if __name__ == "__main__":
    main()
