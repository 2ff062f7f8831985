"""Cost of a chunk as an utterance grows, with all of the past visible and with bounded context.

    python scripts/bench.py --model checkpoints/embedded --chunks 40

One thread, CPU time of this process, the two kinds in turn on the same tokens; medians over the
rounds. Writes chunks.json and, where matplotlib is installed, chunks.png to --out.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tritone.families import family_of
from tritone.flow_settings import FlowSettings
from tritone.flow_stage import FlowStage
from tritone.types import Int32, Voice
from tritone.vocoder_stage import VocoderStage

EARLY, LATE = 3, 30  # the chunks whose costs are compared


def chunk_costs(
    flow: FlowStage, vocoder: VocoderStage, tokens: Int32, chunks: int
) -> tuple[list[float], list[float], int]:
    """Seconds of CPU for each chunk's flow and vocoder step, and the stream's cache in bytes."""
    config = flow.config
    empty = np.zeros((0, config.output_size), np.float32)
    voice = Voice(np.zeros(0, np.int32), empty, np.ones(config.spk_embed_dim, np.float32))
    state, vocoding = flow.open(voice), vocoder.start(seed=0, speed=1.0)
    flow_costs, vocoder_costs, position = [], [], 0
    for chunk in range(chunks):
        until = (chunk + 1) * config.chunk_size + config.pre_lookahead_len
        begin = time.process_time()
        mel, state = flow.step(tokens[position:until], state, finalize=False)
        between = time.process_time()
        _, vocoding = vocoder.step(mel, vocoding, finalize=False)
        flow_costs.append(between - begin)
        vocoder_costs.append(time.process_time() - between)
        position = until
    return flow_costs, vocoder_costs, state.nbytes


def measure(model: Path, chunks: int, rounds: int, left_chunks: int) -> dict[str, Any]:
    family, config = family_of(model)
    vocoder = VocoderStage(family.load_vocoder(model, config))
    stages = {
        name: FlowStage(
            family.load_flow(model, config), family.start_noise(config), FlowSettings(bound)
        )
        for name, bound in (("unbounded", 0), (f"{left_chunks} chunks", left_chunks))
    }
    size = chunks * config.flow.chunk_size + config.flow.pre_lookahead_len
    tokens = np.random.default_rng(0).integers(0, config.flow.vocab_size, size).astype(np.int32)
    runs: dict[str, list[tuple[list[float], list[float], int]]] = {name: [] for name in stages}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, stage in stages.items():
            runs[name].append(chunk_costs(stage, vocoder, tokens, chunks))
    return {name: _summary(of) for name, of in runs.items()}


def _summary(runs: list[tuple[list[float], list[float], int]]) -> dict[str, Any]:
    flow = [median(costs) for costs in zip(*(run[0] for run in runs), strict=True)]
    vocoder = [median(costs) for costs in zip(*(run[1] for run in runs), strict=True)]
    # Neighbours average out what the machine does beside.
    around = [median(flow[n - 2 : n + 3]) for n in (EARLY, LATE)]
    return {
        "flow_s": flow,
        "vocoder_s": vocoder,
        "late_over_early": around[1] / around[0],
        "cache_bytes": runs[0][2],
    }


def report(results: dict[str, Any]) -> None:
    print(f"{'chunk':>6}" + "".join(f"{name + ' ms':>16}" for name in results))
    count = len(next(iter(results.values()))["flow_s"])
    for chunk in (*range(0, count, 5), count - 1):
        row = "".join(f"{1000 * r['flow_s'][chunk]:16.1f}" for r in results.values())
        print(f"{chunk + 1:6}{row}")
    for name, r in results.items():
        print(
            f"{name}: chunk {LATE} costs {r['late_over_early']:.2f} times chunk {EARLY}; "
            f"cache {r['cache_bytes'] / 1e6:.0f} MB; "
            f"vocoder {1000 * median(r['vocoder_s']):.0f} ms a chunk"
        )


def plot(results: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, r in results.items():
        axes.plot(np.arange(1, len(r["flow_s"]) + 1), 1000 * np.array(r["flow_s"]), label=name)
    axes.set(xlabel="chunk of one second", ylabel="flow, ms of CPU", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("checkpoints/embedded"))
    parser.add_argument("--chunks", type=int, default=40, help=f"at least {LATE + 2}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--left-chunks", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    if args.chunks < LATE + 2:
        parser.error(f"--chunks is {args.chunks}; chunk {LATE} needs at least {LATE + 2}")
    torch.set_num_threads(1)
    results = measure(args.model, args.chunks, args.rounds, args.left_chunks)
    report(results)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "chunks.json").write_text(json.dumps(results, indent=1))
    try:
        plot(results, args.out / "chunks.png")
    except ModuleNotFoundError:
        print("no plot: pip install matplotlib draws one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
