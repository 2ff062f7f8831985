"""Which comparisons a golden folder is for, by its content."""

from collections.abc import Callable, Iterator
from pathlib import Path

from parity import ParityResult, cosyvoice3_vocoder, frontend, llm, token2wav


def parts_of(folder: Path) -> list[Callable[[Path], Iterator[ParityResult]]]:
    """Each gives the results of its part of the folder."""
    if cosyvoice3_vocoder.recognises(folder):
        return [cosyvoice3_vocoder.cases]
    if any((folder / name).is_file() for name in ("llm_meta.json", "audio_meta.json")):
        return [frontend.cases, llm.cases]
    return [token2wav.cases]
