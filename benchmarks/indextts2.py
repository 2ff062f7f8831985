"""What a sentence of IndexTTS2 costs on this CPU, beside upstream's way, in one run.

    python -m benchmarks.conversion --family indextts2 --rounds 1 --keep
    python -m benchmarks.indextts2 --model bench/full-size-indextts2

The model may have random weights, as the first command writes it: cost does not depend on values,
and the number of codes is given. The voice is random too, with --reference seconds of recording.

ours: codes and latents in one pass over the decoder, windows of the flow with the context that the
server gives them, the vocoder on new frames, everything in the precision that the server takes.
upstream's way, from our modules in float32, which upstream has on a CPU: codes are drawn alone; for
each packet, at the same hops, the latents of all codes are computed by a second pass over the
decoder, all frames so far by the flow, and all samples by the vocoder. The same in our precision
tells how much of the gain is precision. Work is done by one thread after another, so a first packet
has nothing beside it; a server overlaps the stages. Seconds of CPU count all threads.
Prints a table and writes indextts2.json to --out. Exit status: 0 measured, 2 something is missing.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure, figure, ratio, table, write
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.acoustic.weights import load_network
from tritone.arrays import Float32
from tritone.errors import TritoneError
from tritone.families import open_model
from tritone.families.indextts2.acoustics import load_flow, load_vocoder
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_generation import (
    Drawing,
    generate,
    latents,
    seeded_multinomial,
)
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.planner import HopPlanner, HopPolicy
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import Increment

PROMPT_ROWS = 34 + 40  # of the speaker, and of a sentence


@dataclass(frozen=True)
class Run:
    """first_s: seconds to the first packet. wall_s, cpu_s: of all. audio_s: of the speech."""

    first_s: float
    wall_s: float
    cpu_s: float
    audio_s: float


class Bench:
    """A model, a prompt and a voice. codes: how many are spoken."""

    def __init__(self, model: Path, codes: int, reference_s: float, dtype: str) -> None:
        config: IndexTTS2Config = open_model(model).config
        self.config, self.codes = config, codes
        self.gpt = load_network(lambda: Gpt(config.gpt), model / DECODER_FILE)
        own = {"ours": None, "float32": torch.float32}[dtype]
        self.flow: FlowStage = load_flow(model, config, FlowSettings(dtype=own))
        self.vocoder: VocoderStage = load_vocoder(model, config, VocoderSettings())
        draw = np.random.default_rng(0)
        self.prompt = torch.from_numpy(
            draw.standard_normal((1, PROMPT_ROWS, config.gpt.width)).astype(np.float32)
        )
        heard = round(50 * reference_s)
        self.voice = Voice(
            draw.integers(0, config.gpt.codes, heard).astype(np.int32),
            draw.standard_normal((frames_of(heard), config.flow.mel)).astype(np.float32),
            draw.standard_normal(config.flow.style).astype(np.float32),
            *(np.zeros((0, 0), np.float32), np.zeros(0, np.float32)),
        )

    def run(self, packets: Iterator[Float32]) -> Run:
        wall, cpu, samples, first = time.perf_counter(), time.process_time(), 0, 0.0
        for packet in packets:
            first = first or time.perf_counter() - wall
            samples += len(packet)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Run(first, wall, cpu, samples / self.config.sample_rate)

    def streamed(self) -> Iterator[Float32]:
        """As the server speaks."""
        flow, vocoder = self.flow.open(self.voice), self.vocoder.start(seed=0, speed=1.0)
        for hop, is_last in self._hops(self._spoken()):
            mel, flow = self.flow.step(hop, flow, finalize=is_last)
            wave, vocoder = self.vocoder.step(mel, vocoder, finalize=is_last)
            if len(wave):
                yield wave

    def whole(self) -> Iterator[Float32]:
        said = Increment.joined(list(self._spoken()))
        yield self._sound(said)

    def recomputed(self) -> Iterator[Float32]:
        """Each packet is what is new of everything so far."""
        out, so_far = 0, Increment.joined([])
        for hop, _ in self._hops(self._drawn()):
            so_far = Increment.joined([so_far, hop])
            wave = self._sound(self._with_latents(so_far))
            yield wave[out:]
            out = len(wave)

    def computed_once(self) -> Iterator[Float32]:
        """Upstream's way without streaming."""
        yield self._sound(self._with_latents(Increment.joined(list(self._drawn()))))

    def _spoken(self) -> Iterator[Increment]:
        for one in generate(self.gpt, self.prompt, self._drawing(), self.codes):
            yield Increment(np.array([one.code], np.int32), one.latent.numpy()[None])

    def _drawing(self) -> Drawing:
        return Drawing(self.gpt, self.config.drawing, seeded_multinomial(0), fewest=self.codes)

    @torch.inference_mode()
    def _drawn(self) -> Iterator[Increment]:
        """Codes alone, one row of the decoder for each."""
        drawing, opened = self._drawing(), self.gpt.opened(self.prompt)
        cache = self.gpt.cache(1, opened.shape[1] + self.codes)
        hidden = self.gpt(opened, cache)[0, -1]
        for count in range(1, self.codes + 1):
            code = drawing.draw(self.gpt.logits(hidden).float())
            yield Increment(np.array([code], np.int32))
            if count < self.codes:
                rows = self.gpt.code_rows(torch.tensor([[code]]), torch.tensor([[count + 1]]))
                hidden = self.gpt(rows, cache)[0, -1]

    def _with_latents(self, said: Increment) -> Increment:
        codes: Tensor = torch.from_numpy(said.ids).long()
        return Increment(said.ids, latents(self.gpt, self.prompt, codes).numpy())

    def _sound(self, said: Increment) -> Float32:
        mel = self.flow.whole(said, self.voice)
        return self.vocoder.step(mel, self.vocoder.start(seed=0, speed=1.0), finalize=True)[0]

    def _hops(self, spoken: Iterator[Increment]) -> Iterator[tuple[Increment, bool]]:
        planner = HopPlanner(HopPolicy())
        for count, one in enumerate(spoken, 1):
            planner.push(one)
            if planner.ready:
                hop = planner.take(0.0, 0.0)
                yield hop, count == self.codes
                if count == self.codes:
                    return
        yield planner.rest(), True


def figures_of(name: str, run: Run) -> list[Figure]:
    return [
        figure(f"{name}, CPU", "s", [run.cpu_s]),
        figure("  first packet", "s", [run.first_s]),
        figure("  RTF", "", [run.wall_s / run.audio_s]),
    ]


def measured(args: argparse.Namespace) -> list[Figure]:
    spent: dict[str, Figure] = {}
    figures: list[Figure] = []
    ways = {"ours": [*_OURS, *(_UPSTREAM if args.same_precision else ())], "float32": [*_UPSTREAM]}
    for dtype, names in ways.items():
        bench = Bench(args.model, args.codes, args.reference, dtype)
        for name in names:
            run = bench.run(getattr(bench, name)())
            precise = " (our precision)" if dtype == "ours" and name in _UPSTREAM else ""
            told = f"{_TOLD[name]}{precise}"
            print(f"{told}: load {os.getloadavg()[0]:.1f}", flush=True)
            spent[told], *more = figures_of(told, run)
            figures += [spent[told], *more]
        del bench
    for told, theirs in spent.items():
        for ours, way in zip(_OURS, _UPSTREAM, strict=True):
            if told.startswith(f"{_TOLD[way]}"):
                wanted = "at least 1.5" if told == _TOLD[way] else ""
                name = f"{told}, over {_TOLD[ours]}"
                figures.append(ratio(name, theirs, spent[_TOLD[ours]], wanted))
    return figures


_OURS, _UPSTREAM = ("streamed", "whole"), ("recomputed", "computed_once")
_TOLD = {
    "streamed": "ours, streamed",
    "whole": "ours, whole",
    "recomputed": "upstream's way for each packet",
    "computed_once": "upstream's way, whole",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.indextts2", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--codes", type=int, default=250, help="of the sentence, 50 a second")
    parser.add_argument("--reference", type=float, default=3.0, help="seconds of the voice")
    parser.add_argument("--same-precision", action="store_true", help="upstream's way in ours too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        figures = measured(args)
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(figures))
    settings = {name: value for name, value in vars(args).items() if name not in ("model", "out")}
    write(args.out / "indextts2.json", figures, load=os.getloadavg(), settings=settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
