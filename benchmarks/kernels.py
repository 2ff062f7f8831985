"""What the kernels in C gain on this processor, beside torch's own operators, in turn.

    tritone kernels && python -m benchmarks.kernels            # the sizes of CosyVoice2's release
    python -m benchmarks.kernels --family cosyvoice3 --dtype fp32

A guided ODE step of one stream, a chunk of new frames after some in its caches, of an estimator
with random weights: by torch (attention fused by span), with the kernel for attention, and with
int8 layers too. Seconds of CPU, the median of some rounds; and how far what comes out is from
float32, as a share of it (root mean square).
Exit status: 0 measured, 2 something is missing.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.figures import Figure, figure, ratio, table, write
from benchmarks.full_size import FULL_SIZE
from benchmarks.parts import cpu_seconds
from benchmarks.peaks import one_thread
from tritone.acoustic.attention import fused_by_span, using
from tritone.acoustic.estimator import EstimatorState, StreamsPass, VelocityEstimator
from tritone.acoustic.kernels.int8 import int8_linear
from tritone.acoustic.linear import pack_for_cpu, round_to_int8
from tritone.acoustic.solver import GUIDED_ROWS
from tritone.acoustic.ways import AUTO, choose
from tritone.compute import best_dtype, torch_dtype
from tritone.errors import TritoneError
from tritone.families.cosyvoice2.estimator import Estimator as CosyVoice2
from tritone.families.cosyvoice3.estimator import Estimator as CosyVoice3

ESTIMATORS: dict[str, Callable[..., nn.Module]] = {
    "cosyvoice2": CosyVoice2,
    "cosyvoice3": CosyVoice3,
}
BEFORE = (0, 400, 700)  # frames in the caches
CHANNELS = 256  # of the narrower estimator
PROMPT = 150  # of them of the voice, which streams share


@dataclass
class Kind:
    """One way to run the estimator, and what it has heard, which is the same for all. by_torch:
    whether attention is left to torch."""

    name: str
    estimator: VelocityEstimator
    state: EstimatorState
    by_torch: bool

    def step(self, x: Tensor, shifts: list[Tensor], *, last: bool = True) -> Tensor:
        """The next chunk; unless it is the last one the state is that after it."""
        dtype, run = self.estimator.dtype, StreamsPass([self.state], None)
        with using(dtype, fused_by_span) if self.by_torch else nullcontext():
            velocity = self.estimator.run(x.to(dtype), shifts, run)
        if not last:
            (self.state,) = run.advanced(x.shape[1])
        return velocity


def kinds(family: str, dtype: torch.dtype) -> tuple[Kind, list[Kind]]:
    """The exact one, and those that are compared."""
    torch.manual_seed(0)
    exact = ESTIMATORS[family](FULL_SIZE[family].flow).eval()
    plain, rounded = copy.deepcopy(exact).to(dtype), copy.deepcopy(exact).to(dtype)
    round_to_int8(rounded.int8_parts, int8_linear(dtype))  # type: ignore[arg-type]
    for network in (plain, rounded):
        pack_for_cpu(network, GUIDED_ROWS * network.chunk_frames)  # type: ignore[operator, arg-type]
    shape = (GUIDED_ROWS, plain.heads, plain.chunk_frames, plain.head_dim)
    print("attention:", choose(AUTO, torch.randn(shape).to(dtype)), flush=True)  # type: ignore[arg-type]

    def kind(name: str, network: nn.Module, by_torch: bool) -> Kind:
        estimator: VelocityEstimator = network  # type: ignore[assignment]
        empty = EstimatorState.empty(estimator, GUIDED_ROWS, 0, estimator.dtype)
        return Kind(name, estimator, empty, by_torch)

    return kind("float32", exact, True), [
        kind("torch", plain, True),
        kind("attention in C", plain, False),
        kind("and int8 layers", rounded, False),
    ]


@torch.inference_mode()
def measured(family: str, dtype: torch.dtype, rounds: int) -> list[Figure]:
    exact, compared = kinds(family, dtype)
    everyone = [exact, *compared]
    estimator, draw = exact.estimator, torch.Generator().manual_seed(1)
    width, chunk = estimator.mel_bins + estimator.condition_channels, estimator.chunk_frames
    shifts = {kind.name: kind.estimator.time_shifts(torch.tensor([0.3])) for kind in everyone}
    found: list[Figure] = []
    for before in BEFORE:
        while exact.state.store.length < before:
            x = torch.randn(GUIDED_ROWS, chunk, width, generator=draw)
            for kind in everyone:
                kind.step(x, shifts[kind.name], last=False)
                if kind.state.store.length == PROMPT:
                    kind.state = kind.state.fork()
        x = torch.randn(GUIDED_ROWS, chunk, width, generator=draw)
        found += _in_turn(f"{family}, {before} frames before", exact, compared, x, shifts, rounds)
    return found


def _in_turn(
    what: str,
    exact: Kind,
    compared: list[Kind],
    x: Tensor,
    shifts: dict[str, list[Tensor]],
    rounds: int,
) -> list[Figure]:
    wanted = exact.step(x, shifts[exact.name])
    calls = {kind.name: partial(kind.step, x, shifts[kind.name]) for kind in compared}
    off = {name: call().float() - wanted for name, call in calls.items()}
    shares = {name: float(difference.norm() / wanted.norm()) for name, difference in off.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in tqdm(range(rounds), what):
        for name, call in calls.items():
            seconds[name].append(cpu_seconds(call))
    by_torch = figure(f"{what}: torch", "s of CPU", seconds["torch"])
    figures = []
    for name, took in seconds.items():
        own = figure(f"{what}: {name}", "s of CPU", took)
        figures += [own, figure("  off float32", "of it", [shares[name]])]
        if name != "torch":
            figures.append(ratio("  torch over this", by_torch, own))
    return figures


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=ESTIMATORS, default="cosyvoice2")
    parser.add_argument("--dtype", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    return parser


def main(given: list[str] | None = None) -> int:
    asked = arguments().parse_args(given)
    dtype = torch_dtype(asked.dtype) or best_dtype(torch.device("cpu"), CHANNELS)
    try:
        with one_thread():
            figures = measured(asked.family, dtype, asked.rounds)
    except TritoneError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(figures))
    asked.out.mkdir(parents=True, exist_ok=True)
    write(asked.out / "kernels.json", figures, family=asked.family, dtype=str(dtype))
    return 0


if __name__ == "__main__":
    sys.exit(main())
