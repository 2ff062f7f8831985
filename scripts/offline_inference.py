"""Speak every line of a manifest into DIR/<id>.wav, 24 kHz, without a server.

    python scripts/offline_inference.py --model models/cosyvoice2 --manifest meta.lst --out out/wavs

A line is `id|prompt_text|prompt_wav|text` or a JSON object with id and text, and, if wanted,
prompt_text, prompt_wav, voice, instruct_text, seed, temperature, top_p, top_k, speed; prompt_wav
counts from the manifest's folder. All lines are checked before the first is spoken; bad ones are
named and left out. What is finished is skipped, so a run that was broken off goes on when it is
started again. DIR/log.json has seconds by stage and the real-time factor, DIR/utterances.jsonl one
line an utterance; `tritone/local/offline/log.py` says what each figure is.

Exit status: 0 all is spoken, 1 some lines are not, 2 it could not start or go on, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch
from tqdm import tqdm

from tritone.errors import TritoneError
from tritone.llm.contract import SamplingParams
from tritone.llm.onnx.graph import PRECISIONS
from tritone.llm.runtimes import RUNTIMES
from tritone.local.offline import MAX_BATCH, Item, RunLog, read_manifest, speak_all, wave_path
from tritone.local.stages import LocalStages
from tritone.synthesis.limits import check
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.values import SynthesisRequest


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--profile",
        choices=[runtime.profile for runtime in RUNTIMES.values()],
        default="cpu",
        help="where it runs, as for scripts/serve.py",
    )
    parser.add_argument(
        "--batch", type=int, default=8, help=f"utterances at a time, 1 to {MAX_BATCH} (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, help="of each operator of flow and vocoder (torch's own / batch)"
    )
    parser.add_argument(
        "--precision",
        choices=sorted(PRECISIONS),
        default="int8",
        help="of the language model's weights, with --profile cpu (%(default)s)",
    )
    sampling = parser.add_argument_group("sampling, for lines that do not say")
    sampling.add_argument("--seed", type=int, default=0, help="%(default)s")
    sampling.add_argument("--temperature", type=float, help="the checkpoint's own")
    sampling.add_argument("--top-p", type=float, help="the checkpoint's own")
    sampling.add_argument("--top-k", type=int, help="the checkpoint's own; 1 is greedy")
    return parser


def load(args: argparse.Namespace, settings: Settings) -> LocalStages:
    """The models, with the cores shared out among the utterances that run at once."""
    torch.set_num_threads(args.threads or max(1, torch.get_num_threads() // args.batch))
    values = {"slots": args.batch}  # utterances that the language model advances together
    if args.profile == "cpu":
        values["precision"] = args.precision
    return LocalStages(args.model, settings.limits, profile=args.profile, language_model=values)


def speak(items: list[Item], args: argparse.Namespace, settings: Settings, log: RunLog) -> None:
    """Speak the items; the totals are written however it ends."""
    stages = load(args, settings)
    log.begin()
    bar = tqdm(total=len(items), unit="utterance", smoothing=0.05)
    try:
        with bar, closing(speak_all(items, stages, settings, args.out, args.batch)) as outcomes:
            for outcome in outcomes:
                log.add(outcome)
                if outcome.problem:
                    where = f"line {outcome.item.line} ({outcome.item.id})"
                    bar.write(f"{where}: {outcome.problem}", file=sys.stderr)
                bar.set_postfix(
                    audio=f"{log.audio_s:.0f}s", rtf=f"{log.rtf or 0:.3f}", refresh=False
                )
                bar.update()
    finally:
        stages.llm.close()
        log.write()


def summary(log: RunLog) -> str:
    """What was done, and what is left to do."""
    n = log.counts
    lines = [f"{n['spoken']} spoken, {n['skipped']} were there, {n['failed']} failed"]
    if log.rtf is not None:
        lines[0] += f"; {log.audio_s:.1f} s of speech in {log.pipeline_s:.1f} s, RTF {log.rtf:.3f}"
    if n["bad_lines"]:
        lines.append(f"{n['bad_lines']} lines of the manifest cannot be spoken, see above")
    if n["failed"] or n["bad_lines"]:
        lines.append("mend them and start again: what is finished is skipped")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    settings = Settings()
    sampling = SamplingParams(args.temperature, args.top_p, args.top_k, args.seed)
    check(SynthesisRequest("options", sampling=sampling), settings.limits)
    manifest = read_manifest(args.manifest, sampling, settings.limits)
    for problem in manifest.problems:
        print(f"line {problem.line}: {problem.message}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    items = [item for item in manifest.items if not wave_path(args.out, item).is_file()]
    log = RunLog(
        args.out,
        {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()},
        skipped=len(manifest.items) - len(items),
        bad_lines=len(manifest.problems),
    )
    if items:
        speak(items, args, settings, log)
    print(summary(log))
    return 1 if log.counts["failed"] or log.counts["bad_lines"] else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(arguments)
    if not 1 <= args.batch <= MAX_BATCH:
        parser.error(f"--batch is {args.batch}; it must be 1 to {MAX_BATCH}")
    if args.threads is not None and args.threads < 1:
        parser.error(f"--threads is {args.threads}; it must be at least 1")
    try:
        return run(args)
    except (TritoneError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; start it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
