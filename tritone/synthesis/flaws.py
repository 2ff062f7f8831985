"""What can be wrong with generated speech; counted by kind in the timing record and the metrics."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "repetition",
    "silence",
    "early_end",
    "no_end",
    "leap",
    "stuck",
    "transcript",
    "bad_id",
    "not_finite",
    "clipping",
]
"""repetition: the same sounds or words over and over. silence: a pause that no text asks for.
early_end, no_end: speech too short for its text, or without an end. leap: text left out or gone
back to. stuck: one text token for too long. transcript: words of the reference recording. bad_id:
no code of the codebook. not_finite: NaN or infinite frames or samples. clipping: samples at or
beyond full scale."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Flaw:
    """problem: what was found, with its numbers, for notes and errors."""

    kind: Kind
    problem: str
