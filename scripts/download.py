"""Fetch a released checkpoint: exactly the files that scripts/convert.py reads, verified.

    python scripts/download.py
    python scripts/convert.py models/CosyVoice2-0.5B models/cosyvoice2

ModelScope is tried first, Hugging Face second. A run that was broken off goes on where it stopped;
files that are there and right are kept. Exit status: 0 when every file is there and verified, 1
with a message when not, 130 when interrupted.
"""

import argparse
import logging
import sys
from pathlib import Path

from tritone.checkpoints.fetch import Download
from tritone.checkpoints.places import offline_variable
from tritone.checkpoints.release import RELEASES
from tritone.errors import TritoneError
from tritone.families.cosyvoice2.release import COSYVOICE2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--release", choices=sorted(RELEASES), default=COSYVOICE2.name)
    parser.add_argument("--dir", type=Path, help="where to put it (default: models/RELEASE)")
    parser.add_argument(
        "--source",
        choices=("auto", "modelscope", "huggingface"),
        default="auto",
        help="auto: ModelScope, and Hugging Face where that fails",
    )
    parser.add_argument(
        "--revision",
        help="commit, tag or branch of the --source, other than the pinned one; its files are "
        "verified by what the hub states and recorded in download.json",
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="download nothing: verify what is there, take what the caches of the two hubs have "
        "(also when HF_HUB_OFFLINE or MODELSCOPE_OFFLINE is set)",
    )
    return parser


def main() -> int:
    args = build_parser().parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tritone").setLevel(logging.INFO)
    folder = args.dir or Path("models") / args.release
    try:
        files = Download(
            RELEASES[args.release],
            folder,
            source=args.source,
            revision=args.revision,
            offline=args.offline or offline_variable() is not None,
        ).run()
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on from here", file=sys.stderr)
        return 130
    size = sum(file.size for file in files) / 1e9
    print(
        f"{folder} is whole: {len(files)} files, {size:.2f} GB, verified\n"
        f"next: python scripts/convert.py {folder} models/cosyvoice2"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
