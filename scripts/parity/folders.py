"""Which comparisons a golden folder is for, known by what is in it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parity import (
    ParityResult,
    cosyvoice3_flow,
    cosyvoice3_frontend,
    cosyvoice3_llm,
    cosyvoice3_vocoder,
    frontend,
    indextts2_acoustic,
    indextts2_front,
    indextts2_vocoder,
    llm,
    token2wav,
)

Cases = Callable[[Path], Iterator[ParityResult]]

# by a file that no other folder has; the folder of a family may have several
_BY_FILE: dict[str, Cases] = {
    "text_layout.json": cosyvoice3_frontend.cases,
    "silent_filter.json": cosyvoice3_llm.cases,
    "lookahead.json": cosyvoice3_flow.cases,
    "gpt.json": indextts2_front.cases,
    "dit_cfm.json": indextts2_acoustic.cases,
    "bigvgan.json": indextts2_vocoder.cases,
}


def comparisons(folder: Path) -> Sequence[Cases]:
    own = [cases for name, cases in _BY_FILE.items() if (folder / name).is_file()]
    if cosyvoice3_vocoder.recognises(folder):
        own.append(cosyvoice3_vocoder.cases)
    if own:
        return own
    if any((folder / name).is_file() for name in ("llm_meta.json", "audio_meta.json")):
        return [frontend.cases, llm.cases]
    return [token2wav.cases]
