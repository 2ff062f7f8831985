"""What a deployment decides about text."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tritone.errors import EnvironmentProblem
from tritone.frontend.text.line import Pauses
from tritone.variables import LEXICON_VARIABLE


@dataclass(frozen=True)
class TextSettings:
    """lexicon: a file of its own; by default that of the model directory, where there is one."""

    pauses: Pauses = field(default_factory=Pauses)
    lexicon: Path | None = None


DEFAULT_TEXT = TextSettings()
LONGEST_PAUSE_S = 10.0


def text_settings(pauses: Mapping[str, float] = MappingProxyType({})) -> TextSettings:
    """pauses: seconds at each kind of break, by its name; the lexicon is that of $TRITONE_LEXICON.

    Raises EnvironmentProblem for a pause that cannot be, or a lexicon that does not exist.
    """
    for name, seconds in pauses.items():
        if not 0 <= seconds <= LONGEST_PAUSE_S:
            raise EnvironmentProblem(
                f"{name}_pause is {seconds:g} seconds; it must be 0 to {LONGEST_PAUSE_S:g}"
            )
    named = os.environ.get(LEXICON_VARIABLE)
    if named and not Path(named).is_file():
        raise EnvironmentProblem(f"{LEXICON_VARIABLE} is {named}, which is no file")
    return TextSettings(Pauses(**pauses), Path(named) if named else None)
