"""Whether text becomes tokens."""

import sys
import time
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.model.folder import convert, no_model
from tritone.diagnostics.doctor.checks.model.probe import PROBE_S, probe
from tritone.diagnostics.doctor.finding import Finding, failure, passed
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

DATES = {"en": "Born on 3 Nov 2024.", "zh": "2024年11月3日。"}


@check("model.text", unless=no_model, limit_s=PROBE_S + 5)
def text(target: Target) -> Finding:
    """Whether text becomes tokens: tokenizer, phonemes, and the rules that read out numbers."""
    folder = target.model_dir
    again = f"copy tokenizer.json and phonemes.json again, or: {convert(target=folder)}"
    answer = probe(spoken_date, folder, again)
    if isinstance(answer, Finding):
        return answer
    left = [spoken for spoken in answer["spoken"].values() if any(c.isdigit() for c in spoken)]
    if left or not answer["ids"]:
        return failure(
            f"{' '.join(DATES.values())} is read as {left or 'nothing'}",
            f"install the rules again: {sys.executable} -m pip install --force-reinstall wetext",
        )
    return passed(
        f"tokenizer and rules load in {answer['seconds']:.1f} s; {DATES['en']!r} is read as "
        f"{answer['spoken']['en']!r}"
    )


def spoken_date(model_dir: str) -> dict[str, Any]:
    """In a process of its own: tokenizer, phonemes and rules, tried on a date in two languages."""
    from tritone.families import read_config
    from tritone.frontend.text.normalize import TextNormalizer
    from tritone.frontend.text.pronounce import PHONEMES_NAME, load_pronouncer
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer

    began, folder = time.monotonic(), Path(model_dir)
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
    spoken = {language: normalize(date) for language, date in DATES.items()}
    english = spoken["en"]
    if config.text.pronunciation == "hibari":
        english = load_pronouncer(folder / PHONEMES_NAME, tokenizer)(english).text
    return {
        "seconds": time.monotonic() - began,
        "spoken": spoken,
        "ids": len(tokenizer.encode(english)),
    }
