"""What of a model directory can only be tried with torch, ONNX Runtime and the text packages.

Each probe runs in a process of its own (`probe`), so that a library that hangs or crashes is named
by the doctor and does not end it.
"""

import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.isolated import STACKS_ON_SIGNAL, Outcome, run_isolated
from tritone.errors import ModelDirectoryError

SPOKEN = {"en": "Born on 3 Nov 2024.", "zh": "2024年11月3日。"}
REFUSED = 3  # exit status where the directory is at fault, not the installation

_CODE = (
    STACKS_ON_SIGNAL
    + "from tritone.diagnostics.doctor.checks.model_probe import main\nmain(sys.argv)\n"
)


def probe(name: str, folder: Path, limit_s: float) -> Outcome:
    """Run one of PROBES on a model directory; its answer is the output's last line, as JSON."""
    return run_isolated([sys.executable, "-c", _CODE, name, str(folder)], limit_s)


def shapes(folder: Path) -> dict[str, Any]:
    """Names and shapes of all weights against the modules that config.json describes.

    The modules are made on torch's meta device: nothing is allocated and no data is read.
    """
    import torch

    from tritone.families import family_of

    family, config = family_of(folder)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: nothing is copied to this device, as is meant
        parts = {
            "flow": family.load_flow(folder, config),
            "vocoder": family.load_vocoder(folder, config),
        }
    counts = {
        name: sum(tensor.numel() for tensor in part.parameters()) for name, part in parts.items()
    }
    return {**counts, "language model": _llm_parameters(folder, config.llm)}


def _llm_parameters(folder: Path, llm: Any) -> int:
    from tritone.llm import checkpoint as names

    head = (llm.vocab_size, llm.hidden_size)
    layer = names.layer_shapes(
        llm.hidden_size,
        llm.intermediate_size,
        llm.num_attention_heads,
        llm.num_key_value_heads,
    )
    expected = {names.EMBEDDING: head, names.HEAD: head, names.FINAL_NORM: (llm.hidden_size,)}
    expected[names.HEAD_BIAS] = (llm.vocab_size,)
    for index in range(llm.num_hidden_layers):
        expected |= {names.layer_name(index, part): shape for part, shape in layer.items()}
    weights = names.Checkpoint(folder / names.LLM_DIR / names.WEIGHTS_NAME)
    stored = {name: weights.spec(name).shape for name in weights}
    misfits = [
        f"{name} is {list(stored[name]) if name in stored else 'missing'} where the configuration "
        f"wants {list(shape)}"
        for name, shape in expected.items()
        if stored.get(name) != shape
    ]
    if misfits:
        raise ModelDirectoryError(f"{weights.path}: {'; '.join(misfits[:3])}")
    return sum(math.prod(shape) for shape in expected.values())


def cloning(folder: Path) -> dict[str, Any]:
    """The two models that read a reference recording, opened."""
    from tritone.families import read_config
    from tritone.families.cosyvoice2.reference import load_reader

    began = time.monotonic()
    load_reader(folder, read_config(folder).llm.speech_codes)
    return {"seconds": time.monotonic() - began}


def text(folder: Path) -> dict[str, Any]:
    """Tokenizer, phonemes and the normaliser's rules, tried on a date in both languages."""
    from tritone.families import read_config
    from tritone.frontend.text.normalize import TextNormalizer
    from tritone.frontend.text.pronounce import PHONEMES_NAME, load_pronouncer
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer

    began = time.monotonic()
    config = read_config(folder)
    tokenizer = TextTokenizer(folder / TOKENIZER_NAME)
    if tokenizer.size > config.llm.speech_offset:
        raise ModelDirectoryError(
            f"{TOKENIZER_NAME} has {tokenizer.size} ids, but in config.json speech starts at "
            f"{config.llm.speech_offset}: files of two checkpoints are mixed"
        )
    if config.text.instruct_end:
        tokenizer.control_id(config.text.instruct_end)
    normalize = TextNormalizer()
    spoken = {language: normalize(date) for language, date in SPOKEN.items()}
    english = spoken["en"]
    if config.text.pronunciation == "hibari":
        english = load_pronouncer(folder / PHONEMES_NAME, tokenizer)(english).text
    return {
        "seconds": time.monotonic() - began,
        "spoken": spoken,
        "ids": len(tokenizer.encode(english)),
    }


PROBES = {"shapes": shapes, "cloning": cloning, "text": text}


def main(arguments: list[str]) -> None:
    """The process of a probe: its name and the model directory."""
    try:
        answer = PROBES[arguments[1]](Path(arguments[2]))
    except ModelDirectoryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(REFUSED)
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
