"""python -m training STAGE: run one stage of making a voice, or go on with it."""

import argparse
import importlib
from pathlib import Path

import torch

from training.config import read_voice

STAGES = {
    "corpus": "training.corpus:write",
    "speech": "training.speech:generate",
    "tokenizer": "training.train_tokenizer:train",
    "codes": "training.train_tokenizer:write_codes",
    "speaker": "training.train_speaker_encoder:train",
    "lm": "training.train_lm:train",
    "flow": "training.train_flow:train",
    "vocoder": "training.train_vocoder:train",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("voice.yaml"))
    parser.add_argument("--work", type=Path, default=Path("build/voice"))
    parser.add_argument("--threads", type=int, default=1, help="cores of this stage")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    module, function = STAGES[arguments.stage].split(":")
    stage = getattr(importlib.import_module(module), function)
    arguments.work.mkdir(parents=True, exist_ok=True)
    stage(arguments.work, read_voice(arguments.config))


if __name__ == "__main__":
    main()
