"""Which comparisons a folder of golden cases is for, by what is in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from parity import ParityResult, cosyvoice3_frontend, frontend, llm, token2wav

Cases = Callable[[Path], Iterator[ParityResult]]


def comparisons(folder: Path) -> list[Cases]:
    if (folder / cosyvoice3_frontend.LAYOUTS).is_file():
        return [cosyvoice3_frontend.cases]
    if any((folder / name).is_file() for name in ("llm_meta.json", "audio_meta.json")):
        return [frontend.cases, llm.cases]
    return [token2wav.cases]
