"""python -m training [STAGE]: make a voice, all stages or one, from where the last run stopped."""

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path

import torch

from training.config import read_voice
from training.pipeline import STAGES, Pipeline


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    names = [stage.name for stage in STAGES]
    parser.add_argument("stage", nargs="?", default="all", choices=["all", *names])
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[Path(__file__).with_name("voice.yaml")],
        help="YAML files; a later one replaces values of the ones before",
    )
    parser.add_argument("--work", type=Path, default=Path("build/voice"))
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="stages side by side"
    )
    arguments = parser.parse_args()
    voice = read_voice(*arguments.config)  # a mistake in it should be told before anything runs
    arguments.work.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that stages are stopped too
    if arguments.stage == "all":
        Pipeline(arguments.work, arguments.config, arguments.cores).run()
        return
    torch.set_num_threads(1)
    stage = next(stage for stage in STAGES if stage.name == arguments.stage)
    module, function = stage.target_of(voice.family).split(":")
    getattr(importlib.import_module(module), function)(arguments.work, voice)


if __name__ == "__main__":
    main()
