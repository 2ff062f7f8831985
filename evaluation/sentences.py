"""The sentences that are spoken: sentences.json.

- harvard: lists 1 to 4 of the IEEE Recommended Practice for Speech Quality Measurements (1969),
  which is what most figures in the literature are measured on;
- own: everyday sentences that no training text of ours holds;
- many: short and long, questions, names, digits, capitals and abbreviations. They are there to
  find runaways, cuts and silence; their word error rate says more about spelling than speech;
- short: phrases of one to five words, which are easily said twice or cut;
- clauses: ordinary sentences of a story, most of them of more than one clause.
"""

import json
from dataclasses import dataclass
from pathlib import Path

LISTS = ("harvard", "own", "many", "short", "clauses")

_PATH = Path(__file__).with_name("sentences.json")


@dataclass(frozen=True)
class Sentence:
    """key: the list and the place in it from 1, such as harvard-01; wave files are named by it."""

    key: str
    text: str

    @property
    def list_name(self) -> str:
        return self.key.rpartition("-")[0]


def sentences(name: str) -> tuple[Sentence, ...]:
    """One of LISTS, in order."""
    assert name in LISTS, f"{name!r} is none of {LISTS}"
    texts: list[str] = json.loads(_PATH.read_text(encoding="utf-8"))[name]
    width = max(2, len(str(len(texts))))
    return tuple(Sentence(f"{name}-{i:0{width}}", text) for i, text in enumerate(texts, 1))
