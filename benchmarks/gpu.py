"""A full-size model on a GPU with torch alone: language model, first packet, many streams.

    python -m benchmarks.gpu                      # writes random weights of CosyVoice2's shapes
    python -m benchmarks.gpu --family cosyvoice3  # of CosyVoice3's
    python -m benchmarks.gpu --model MODEL_DIR    # what `tritone convert` wrote

In one process, without a server: what Triton adds is measured by `tritone bench`. Speech is
--seconds long after a prompt of three seconds. Prints a table and writes gpu.json to --out.
Exit status: 0 all was measured, 2 the device or the model cannot be used.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.full_size import COSYVOICE2, FULL_SIZE
from benchmarks.random_model import write_model
from benchmarks.streams import BenchStages, decode_rate, run_streams, some_prompt
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, PoolSettings, VocoderSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import torch_device
from tritone.config import CONFIG_NAME
from tritone.errors import TritoneError
from tritone.families import open_model
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import Increment
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.slots import TorchSlots
from tritone.synthesis.pipeline import Settings
from tritone_client.metrics import StreamMetrics

# what a data-centre GPU should reach
WANTED = {
    "first packet, 1 stream, p50, ms": "at most 90",
    "RTF, 1 stream": "at most 0.05",
    "underruns, 16 streams": "0",
    "LLM tokens/s, 1 stream": "at least 600",
    "LLM tokens/s, 32 streams": "at least 6000",
}


class Bench:
    """One model on one device; each method measures one thing."""

    def __init__(self, model: Path, device: str, seconds: float, cache_mb: int) -> None:
        self._model, opened = model, open_model(model)
        self._family, self.config = opened.family, opened.config
        self._device, self._seconds, self._cache_mb = device, seconds, cache_mb

    def language_model(self, counts: list[int], slots: int) -> dict[str, float]:
        llm = open_torch(self._model, self.config, device=self._device, slots=slots)
        try:
            tokens = round(25 * self._seconds)
            decode_rate(llm, self.config, 1, 20)
            return {
                f"LLM tokens/s, {n} stream{'s' * (n > 1)}": decode_rate(llm, self.config, n, tokens)
                for n in counts
            }
        finally:
            llm.close()

    def streams(self, counts: list[int], rounds: int, slots: int) -> dict[str, float]:
        flow, vocoder = self._acoustics()
        llm = open_torch(self._model, self.config, device=self._device, slots=slots)
        stages = BenchStages(self.config, llm, flow, vocoder, seconds=self._seconds)
        figures: dict[str, float] = {}
        try:
            run_streams(stages, 1, Settings())
            for count in counts:
                run_streams(stages, count, Settings())  # records what graphs this mix needs
                runs = [run_streams(stages, count, Settings()) for _ in range(rounds)]
                figures |= _felt(count, [one for run in runs for one in run])
        finally:
            llm.close()
        return figures

    def parity(self) -> dict[str, float]:
        """Error of the half-precision paths, RMS over RMS, against float32 on the same device."""
        exact, short = (self._logits(dtype) for dtype in (torch.float32, torch.bfloat16))
        mels = [self._mel(dtype) for dtype in (torch.float32, torch.bfloat16)]
        return {
            "bf16 logits, error": _relative(short, exact),
            "bf16 mel, error": _relative(mels[1], mels[0]),
        }

    def _logits(self, dtype: torch.dtype) -> np.ndarray[Any, Any]:
        checkpoint = Checkpoint(self._model / LLM_DIR / WEIGHTS_NAME)
        session = TorchSlots(
            checkpoint,
            self.config.llm,
            device=torch_device(self._device),
            dtype=dtype,
            slots=1,
            slot_length=512,
        )
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

    def _acoustics(self) -> tuple[FlowStage, VocoderStage]:
        pool = PoolSettings(cache_mb=self._cache_mb)
        settings = FlowSettings(device=self._device, dtype=torch.bfloat16, pool=pool)
        flow = self._family.load_flow(self._model, self.config, settings)
        vocoder = self._family.load_vocoder(
            self._model, self.config, VocoderSettings(device=self._device)
        )
        flow.warm_up()
        vocoder.warm_up()
        return flow, vocoder


def _felt(count: int, runs: list[StreamMetrics]) -> dict[str, float]:
    name = f"{count} stream{'s' * (count > 1)}"
    first = [1000 * run.first_packet_s for run in runs if run.first_packet_s is not None]
    return {
        f"first packet, {name}, p50, ms": float(np.median(first)),
        f"first packet, {name}, p95, ms": float(np.percentile(first, 95)),
        f"RTF, {name}": float(np.median([run.rtf for run in runs if run.rtf is not None])),
        f"underruns, {name}": float(sum(run.underruns for run in runs)),
    }


def _relative(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, help="model directory (random weights, full size)")
    parser.add_argument("--family", choices=FULL_SIZE, default=COSYVOICE2.family, help="of those")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--llm-streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cache-mb", type=int, default=0, help="of the flow; 0: half of what is free"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    try:
        device = torch_device(args.device)
        model = args.model or args.out / f"full-size-{args.family}"
        if not args.model and not (model / CONFIG_NAME).is_file():
            write_model(model, FULL_SIZE[args.family])
        bench = Bench(model, args.device, args.seconds, args.cache_mb)
        figures = bench.parity()
        figures |= bench.language_model(args.llm_streams, max(args.llm_streams))
        figures |= bench.streams(args.streams, args.rounds, max(args.streams))
    except TritoneError as error:
        print(error, file=sys.stderr)
        return 2
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, {model}")
    for name, value in figures.items():
        print(f"{name:40}{value:12.4g}   {WANTED.get(name, '')}")
    args.out.mkdir(parents=True, exist_ok=True)
    result = {"device": where, "torch": torch.__version__, "figures": figures}
    (args.out / "gpu.json").write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
