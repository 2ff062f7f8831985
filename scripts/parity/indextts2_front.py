"""The half of IndexTTS2 before the flow against a golden folder of upstream's classes."""

from collections.abc import Iterator
from pathlib import Path

import torch

from parity import ParityResult, indextts2_gpt, indextts2_reference, indextts2_text
from parity.golden import Golden

CASES = indextts2_text.CASES | indextts2_reference.CASES | indextts2_gpt.CASES


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare what there is."""
    with torch.inference_mode():
        for name, compare in CASES.items():
            if (folder / f"{name}.json").is_file():
                yield from compare(Golden(folder, name))
