"""Which comparisons a golden folder is for, known by the cases in it."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from parity import ParityResult, cosyvoice3_flow, frontend, llm, token2wav


def cases(folder: Path) -> Iterator[ParityResult]:
    """All that is known of `folder`, compared one after the other."""

    def has(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    if has("lookahead.json"):
        parts = [cosyvoice3_flow.cases]
    elif has("llm_meta.json", "audio_meta.json"):
        parts = [frontend.cases, llm.cases]
    else:
        parts = [token2wav.cases]
    return chain.from_iterable(part(folder) for part in parts)
