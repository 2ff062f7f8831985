"""How good speech is: words, voice, sound, seams, length and speed.

    python -m evaluation --model checkpoints/embedded --list harvard,own
    python -m evaluation --url 127.0.0.1:8001 --voices a,b --references a=a.wav,b=b.wav
    python -m evaluation --wavs teacher=out/teacher --wavs vocoder=out/vocoder

Any number of subjects side by side, one row each for every voice and list. Writes report.json (all
figures, and every sentence with its transcript) and report.md to --out.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import soundfile
from tqdm import tqdm

from evaluation.judges import Judges, Row
from evaluation.report import markdown, report, summarize
from evaluation.sentences import LISTS, Sentence, sentences
from evaluation.subjects import LocalSubject, ServedSubject, Subject, WaveSubject, save
from tritone.arrays import Float32
from tritone.errors import TritoneError
from tritone_client import SpeechError


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, help="model directory, loaded in this process")
    parser.add_argument("--url", help="host:port of a server's gRPC endpoint")
    parser.add_argument(
        "--wavs",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="files DIR/harvard-01.wav, with --voices DIR/VOICE/harvard-01.wav; repeatable",
    )
    parser.add_argument("--one-shot", action="store_true", help="speak without streaming")
    parser.add_argument("--preset", default="exact", help="of the model in this process")
    parser.add_argument("--voices", default="", metavar="A,B", help="registered voices to speak in")
    parser.add_argument(
        "--references",
        default="",
        metavar="A=FILE,B=FILE",
        help="a recording of each voice, to tell whose voice is heard",
    )
    parser.add_argument("--list", default=",".join(LISTS), help="of " + ", ".join(LISTS))
    parser.add_argument("--limit", type=int, help="sentences of each list, from its start")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    parser.add_argument("--save", action="store_true", help="keep the audio in OUT/NAME of speech")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    return parser


def named(values: list[str], option: str) -> dict[str, Path]:
    """NAME=PATH arguments."""
    pairs = [value.partition("=") for value in values if value]
    for name, _, path in pairs:
        if not name or not path:
            raise ValueError(f"{option}: {name!r} must be NAME=PATH")
    return {name: Path(path) for name, _, path in pairs}


def chosen_sentences(lists: str, limit: int | None) -> list[Sentence]:
    names = lists.split(",")
    unknown = [name for name in names if name not in LISTS]
    if unknown:
        raise ValueError(f"--list: {unknown[0]!r} is none of {', '.join(LISTS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"--limit: {limit}; it must be at least 1")
    return [sentence for name in names for sentence in sentences(name)[:limit]]


def recordings(references: dict[str, Path]) -> dict[str, tuple[Float32, int]]:
    read = {}
    for name, path in references.items():
        if not path.is_file():
            raise ValueError(f"--references: {path} is missing")
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        read[name] = (samples[:, 0], rate)
    return read


def subjects(args: argparse.Namespace) -> Iterator[Subject]:
    """Each is loaded when its turn comes, and closed by the caller."""
    streaming = not args.one_shot
    if args.model:
        yield LocalSubject(args.model, streaming=streaming, seed=args.seed, preset=args.preset)
    if args.url:
        yield ServedSubject(args.url, streaming=streaming, seed=args.seed)
    for name, folder in named(args.wavs, "--wavs").items():
        yield WaveSubject(name, folder)


def evaluate(args: argparse.Namespace) -> list[Row]:
    spoken = chosen_sentences(args.list, args.limit)
    voices: list[str | None] = [*filter(None, args.voices.split(","))] or [None]
    judges = Judges(recordings(named(args.references.split(","), "--references")))
    rows = []
    for subject in subjects(args):
        work = [(voice, sentence) for voice in voices for sentence in spoken]
        with closing(subject):
            for voice, sentence in tqdm(work, desc=subject.name, unit="sentence"):
                speech = subject.speak(sentence, voice)
                rows.append(judges(subject.name, sentence, voice, speech))
                if args.save:
                    save(args.out / subject.name.replace("/", "_"), sentence, voice, speech)
    return rows


def main() -> int:
    parser = arguments()
    args = parser.parse_args()
    if not (args.model or args.url or args.wavs):
        parser.error("nothing to evaluate: give --model, --url or --wavs")
    try:
        rows = evaluate(args)
    except ValueError as error:
        parser.error(str(error))
    except (TritoneError, SpeechError) as error:
        print(error, file=sys.stderr)
        return 1
    table = markdown(summarize(rows))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(json.dumps(report(rows), indent=1), encoding="utf-8")
    (args.out / "report.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
