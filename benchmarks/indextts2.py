"""What a sentence of IndexTTS2 costs on this CPU, beside upstream's way, in one run.

    python -m benchmarks.conversion --family indextts2 --rounds 1 --keep
    python -m benchmarks.indextts2 --model bench/full-size-indextts2    # --quick

The model may have random weights, as the first command writes it: cost does not depend on values,
and the number of codes is given. The voice is random too, with --reference seconds of recording.

ours: codes and latents in one pass over the decoder, windows of the flow with the context that the
server gives them, the vocoder on new frames, everything in the precision that the server takes.
upstream's way, from our modules in float32, which upstream has on a CPU: codes are drawn alone; for
each packet, at the same hops, the latents of all codes are computed by a second pass over the
decoder, all frames so far by the flow, and all samples by the vocoder. The same in our precision
tells how much of the gain is precision. Work is done by one thread after another, so a first packet
has nothing beside it; a server overlaps the stages. Seconds of CPU count all threads.
--quick is a sentence of 2 s in a voice of 1 s: two packets, so that upstream's way computes less
again, and is less behind, than in a sentence of 5 s.
Tells each packet as it is made, prints a table and writes indextts2.json to --out, which has what
is measured as soon as it is. Exit status: 0 measured, 2 something is missing, 130 interrupted.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
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
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.families import open_model
from tritone.families.indextts2.acoustics import load_flow, load_vocoder
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_generation import Drawing, latents, seeded_multinomial
from tritone.families.indextts2.gpt_runtime import DECODER_FILE, open_gpt
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.planner import HopPlanner, HopPolicy
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams

QUICK = (100, 1.0)
FULL = (250, 3.0)
"""Codes of the sentence, and seconds of the voice."""

PROMPT_ROWS = 34 + 40  # of the speaker, and of a sentence


@dataclass(frozen=True)
class Run:
    """first_s: seconds to the first packet. wall_s, cpu_s: of all. audio_s: of the speech."""

    first_s: float
    wall_s: float
    cpu_s: float
    audio_s: float


class Bench:
    """A model, a prompt and a voice. codes: how many are spoken. gpt: where it is loaded already.
    Raises TritoneError."""

    def __init__(
        self, model: Path, codes: int, reference_s: float, dtype: str, gpt: Gpt | None = None
    ) -> None:
        config = open_model(model).config
        if not isinstance(config, IndexTTS2Config):
            raise EnvironmentProblem(f"{model} is of the family {config.family}; name an IndexTTS2")
        if not 1 <= codes <= config.gpt.most_codes:
            raise EnvironmentProblem(f"--codes is {codes}; it must be 1 to {config.gpt.most_codes}")
        self.config, self.codes = config, codes
        self.gpt = gpt or load_network(lambda: Gpt(config.gpt), model / DECODER_FILE)
        own = {"ours": None, "float32": torch.float32}[dtype]
        self.flow: FlowStage = load_flow(model, config, FlowSettings(dtype=own))
        self.vocoder: VocoderStage = load_vocoder(model, config, VocoderSettings())
        precision = {"ours": "int8", "float32": "fp32"}[dtype]
        self.llm = open_gpt(
            model, config, precision=precision, slots=1, threads=torch.get_num_threads()
        )
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
            spoken = samples / self.config.sample_rate
            print(
                f"  {spoken:.2f} s of speech after {time.perf_counter() - wall:.1f} s", flush=True
            )
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
        prompt = Prompt(embeddings=self.prompt[0].numpy())
        request = GenerationRequest(prompt, self.codes, self.codes, SamplingParams(seed=0))
        for said in self.llm.submit(request):
            yield from (said[at : at + 1] for at in range(len(said)))

    def _drawing(self) -> Drawing:
        config = self.config
        return Drawing(config.gpt, config.drawing, seeded_multinomial(0), self.codes)

    @torch.inference_mode()
    def _drawn(self) -> Iterator[Increment]:
        """Codes alone, one row of the decoder for each."""
        drawing, opened = self._drawing(), self.gpt.opened(self.prompt)
        cache = self.gpt.cache(1, opened.shape[1] + self.codes)
        hidden = self.gpt(opened, cache)[0, -1]
        for count in range(1, self.codes + 1):
            code = drawing.draw(self.gpt.logits(hidden).numpy())
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


def measured(args: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """What each way costs, as soon as it is known. Raises TritoneError."""
    gpt: Gpt | None = None
    ways = {"ours": [*_OURS, *(_UPSTREAM if args.same_precision else ())], "float32": [*_UPSTREAM]}
    for dtype, names in ways.items():
        print(f"loading, {dtype}", flush=True)
        bench = Bench(args.model, args.codes, args.reference, dtype, gpt)
        gpt = bench.gpt
        for name in names:
            precise = " (our precision)" if dtype == "ours" and name in _UPSTREAM else ""
            told = f"{_TOLD[name]}{precise}"
            print(f"{told}: load {os.getloadavg()[0]:.1f}", flush=True)
            yield told, bench.run(getattr(bench, name)())
        bench.llm.close()
        del bench


def figures_of(runs: Mapping[str, Run]) -> list[Figure]:
    """Of the ways that were measured, and how the ones compare with the others."""
    figures, spent = list[Figure](), dict[str, Figure]()
    for told, run in runs.items():
        spent[told] = figure(f"{told}, CPU", "s", [run.cpu_s])
        first = figure("  first packet", "s", [run.first_s])
        figures += [spent[told], first, figure("  RTF", "", [run.wall_s / run.audio_s])]
    for told, theirs in spent.items():
        for ours, way in zip(_OURS, _UPSTREAM, strict=True):
            if told.startswith(_TOLD[way]) and _TOLD[ours] in spent:
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


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.indextts2", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--quick", action="store_true", help="a shorter sentence and voice")
    parser.add_argument("--codes", type=int, help=f"of the sentence, 50 a second ({FULL[0]})")
    parser.add_argument("--reference", type=float, help=f"seconds of the voice ({FULL[1]:g})")
    parser.add_argument("--same-precision", action="store_true", help="upstream's way in ours too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    args = parser.parse_args()
    codes, reference = QUICK if args.quick else FULL
    args.codes = codes if args.codes is None else args.codes
    args.reference = reference if args.reference is None else args.reference
    return args


def main() -> int:
    args, runs = options(), dict[str, Run]()
    settings = {name: value for name, value in vars(args).items() if name not in ("model", "out")}
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    def keep(complete: bool) -> None:
        about = {"load": os.getloadavg(), "settings": settings, "complete": complete}
        write(args.out / "indextts2.json", figures_of(runs), **about)

    status = 0
    try:
        for told, run in measured(args):
            runs[told] = run
            keep(complete=False)
        keep(complete=True)
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    print(table(figures_of(runs)))
    return status


if __name__ == "__main__":
    sys.exit(main())
