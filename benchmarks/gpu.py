"""A full-size model on a GPU with torch alone: first packet, many streams, language model.

    python -m benchmarks.gpu                      # writes random weights of CosyVoice2's shapes
    python -m benchmarks.gpu --family cosyvoice3  # of CosyVoice3's
    python -m benchmarks.gpu --model MODEL_DIR    # what `tritone convert` wrote

Language model, flow and vocoder are processes of their own under the schedulers of a server, but
without one: what Triton adds is measured by `tritone bench`. Needs torch, numpy, pydantic,
safetensors and tokenizers. Speech is --seconds long after a prompt of three seconds. After each
part gpu.json in --out is written anew and its table printed; what has not begun within --minutes
is left out.

Exit status: 0 all was measured, 1 not all of it, 2 the device or the model cannot be used.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.full_size import COSYVOICE2, FULL_SIZE
from benchmarks.random_model import write_model
from benchmarks.remote_stages import (
    FlowServed,
    LanguageModelServed,
    RemoteLanguageModel,
    VocoderServed,
)
from benchmarks.stage_processes import StageProcess
from benchmarks.streams import BenchStages, Together, decode_rate, run_streams, some_prompt
from tritone.acoustic.placement import FlowSettings, PoolSettings, VocoderSettings
from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import torch_device
from tritone.config import CONFIG_NAME
from tritone.errors import TritoneError
from tritone.families import open_model
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import Increment
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots
from tritone.synthesis.pipeline import Settings

Figures = dict[str, float]

# what a data-centre GPU should reach
WANTED = {
    "first packet, 1 stream, p50, ms": "at most 60",
    "RTF, 1 stream": "at most 0.05",
    "underruns, 64 streams": "0",
    "times real time, 64 streams": "at least 100",
    "LLM tokens/s, 1 stream": "at least 600",
    "LLM tokens/s, 32 streams": "at least 6000",
}


def language_model(model: Path, device: str, slots: int) -> LanguageModelServed:
    config = open_model(model).config
    return LanguageModelServed(
        open_torch(model, config, device=device, slots=slots), CODES_PER_SECOND
    )


def flow(model: Path, settings: FlowSettings) -> FlowServed:
    opened = open_model(model)
    stage = opened.family.load_flow(model, opened.config, settings)
    stage.warm_up()
    return FlowServed(stage)


def vocoder(model: Path, device: str) -> VocoderServed:
    opened = open_model(model)
    stage = opened.family.load_vocoder(model, opened.config, VocoderSettings(device=device))
    stage.warm_up()
    return VocoderServed(stage)


class Bench:
    """One model on one device; each method measures one thing. processes: see `StageProcess`."""

    def __init__(
        self, model: Path, device: str, seconds: float, cache_mb: int, *, processes: bool = True
    ) -> None:
        self._model, opened = model, open_model(model)
        self._family, self.config = opened.family, opened.config
        self._device, self._seconds, self._cache_mb = device, seconds, cache_mb
        self._processes = processes

    @contextmanager
    def opened(self, slots: int) -> Iterator[BenchStages]:
        """All stages, which load at the same time. Raises StageFailed."""
        pool = PoolSettings(cache_mb=self._cache_mb)
        settings = FlowSettings(device=self._device, dtype=torch.bfloat16, pool=pool)
        makers: list[Callable[[], Any]] = [
            partial(language_model, self._model, self._device, slots),
            partial(flow, self._model, settings),
            partial(vocoder, self._model, self._device),
        ]
        started = [StageProcess(maker, process=self._processes) for maker in makers]
        try:
            llm, flows, vocoders = (one.ready() for one in started)
            yield BenchStages(self.config, llm, flows, vocoders, seconds=self._seconds)
        finally:
            for one in started:
                one.close()

    def language_model(self, llm: RemoteLanguageModel, streams: int) -> Figures:
        tokens = round(25 * self._seconds)
        rate = decode_rate(llm, self.config, streams, tokens)
        return {f"LLM tokens/s, {_streams(streams)}": rate}

    def streams(self, stages: BenchStages, count: int, rounds: int) -> Figures:
        run_streams(stages, count, Settings())  # the first of its kind
        return _felt(count, [run_streams(stages, count, Settings()) for _ in range(rounds)])

    def parity(self) -> Figures:
        """Error of the half-precision paths, RMS over RMS, against float32 on the same device."""
        exact, short = (self._logits(dtype) for dtype in (torch.float32, torch.bfloat16))
        mels = [self._mel(dtype) for dtype in (torch.float32, torch.bfloat16)]
        return {
            "bf16 logits, error": _relative(short, exact),
            "bf16 mel, error": _relative(mels[1], mels[0]),
        }

    def _logits(self, dtype: torch.dtype) -> np.ndarray[Any, Any]:
        checkpoint = Checkpoint(self._model / LLM_DIR / WEIGHTS_NAME)
        decoder = TorchQwen2(checkpoint, self.config.llm, torch_device(self._device), dtype)
        session = TorchSlots(decoder, slots=1, slot_length=512)
        embedding, (ids, _) = EmbeddingTable(checkpoint), some_prompt(self.config, 75)
        seen = [session.prefill(0, embedding(ids))]
        for step in range(16):
            lengths = np.array([len(ids) + step], np.int32)
            seen.append(session.decode(embedding(ids[step : step + 1]), lengths)[0].copy())
        return np.stack(seen)

    def _mel(self, dtype: torch.dtype) -> np.ndarray[Any, Any]:
        pool = PoolSettings(cache_mb=self._cache_mb) if dtype != torch.float32 else None
        settings = FlowSettings(device=self._device, dtype=dtype, pool=pool)
        stage = self._family.load_flow(self._model, self.config, settings)
        _, voice = some_prompt(self.config, 75)
        tokens = Increment(voice.prompt_tokens[::-1].copy())
        return stage.step(tokens, stage.open(voice), finalize=True)[0]


def _streams(count: int) -> str:
    return f"{count} stream{'s' * (count > 1)}"


def _felt(count: int, runs: list[Together]) -> Figures:
    """Of rounds of so many streams; what nobody heard is left out."""
    name = _streams(count)

    def of(which: str) -> list[float]:
        return [value for run in runs for value in run.values(which)]

    first = [1000 * seconds for seconds in of("first_packet_s")]
    figures = {f"refused, {name}": float(sum(run.refused for run in runs))}
    if first:
        figures |= {
            f"first packet, {name}, p50, ms": float(np.median(first)),
            f"first packet, {name}, p95, ms": float(np.percentile(first, 95)),
            f"RTF, {name}": float(np.median(of("rtf"))),
            f"underruns, {name}": float(sum(of("underruns"))),
            f"times real time, {name}": sum(of("audio_s")) / sum(run.seconds for run in runs),
        }
    return figures


def _relative(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


class Report:
    """What has been measured, on disk after each part. minutes: after which nothing is begun."""

    def __init__(self, path: Path, where: dict[str, str], minutes: float) -> None:
        self._path, self._where = path, where
        self._ends = time.monotonic() + 60 * minutes
        self.figures: Figures = {}
        self.problems: dict[str, str] = {}

    def part(self, name: str, measure: Callable[[], Figures]) -> None:
        """One that fails does not stop the others."""
        if time.monotonic() > self._ends:
            self.problems[name] = "left out: time was over"
        else:
            try:
                found = measure()
            except Exception as error:
                self.problems[name] = f"{type(error).__name__}: {error}"
            else:
                self.figures |= found
                for figure, value in found.items():
                    print(f"{figure:40}{value:12.4g}   {WANTED.get(figure, '')}", flush=True)
        if name in self.problems:
            print(f"{name}: {self.problems[name]}", file=sys.stderr, flush=True)
        content = {**self._where, "figures": self.figures, "problems": self.problems}
        write_json(self._path, content)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, help="model directory (random weights, full size)")
    parser.add_argument("--family", choices=FULL_SIZE, default=COSYVOICE2.family, help="of those")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--llm-streams", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7.0, help="after which nothing is begun")
    parser.add_argument(
        "--cache-mb", type=int, default=0, help="of the flow; 0: half of what is free"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    return parser


def main(*, processes: bool = True) -> int:
    args = build_parser().parse_args()
    try:
        device = torch_device(args.device)
        model = args.model or args.out / f"full-size-{args.family}"
        if not args.model and not (model / CONFIG_NAME).is_file():
            write_model(model, FULL_SIZE[args.family])
        bench = Bench(model, args.device, args.seconds, args.cache_mb, processes=processes)
    except TritoneError as error:
        print(error, file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {model}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    where = {"device": name, "torch": torch.__version__, "model": bench.config.family}
    report = Report(args.out / "gpu.json", where, args.minutes)
    measure(bench, report, args)
    return 1 if report.problems else 0


def measure(bench: Bench, report: Report, args: argparse.Namespace) -> None:
    """All parts, the most wanted first."""

    def with_stages() -> Figures:
        with bench.opened(max(*args.streams, *args.llm_streams)) as stages:
            for count in args.streams:
                report.part(_streams(count), partial(bench.streams, stages, count, args.rounds))
            for count in args.llm_streams:
                name = f"language model, {_streams(count)}"
                report.part(name, partial(bench.language_model, stages.llm, count))
        return {}

    report.part("stages", with_stages)
    report.part("parity", bench.parity)


if __name__ == "__main__":
    sys.exit(main())
