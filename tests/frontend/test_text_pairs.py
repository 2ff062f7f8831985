"""Spoken forms against collections of pairs."""

import re
from collections import Counter

import pytest
from paths import PROJECT
from spoken_forms import plain, rows

from tritone.frontend.text.normalize import TextNormalizer

PAIRS = list(rows("pairs.tsv"))
normalize = TextNormalizer()


@pytest.mark.parametrize(("language", "written", "spoken"), PAIRS, ids=[row[1] for row in PAIRS])
def test_is_read_as_a_person_would(language: str, written: str, spoken: str) -> None:
    accepted = [plain(form, language) for form in spoken.split(" | ")]
    assert plain(normalize(written), language) in accepted


def test_the_examples_of_the_documentation_are_read_so() -> None:
    page = (PROJECT / "docs" / "text.md").read_text(encoding="utf-8")
    table = page.partition("## Examples")[2].partition("##")[0]
    examples = re.findall(r"^\| `(.+)` \| (.+) \|$", table, flags=re.MULTILINE)
    assert len(examples) >= 15
    assert [(w, normalize(w)) for w, _ in examples] == examples


def test_most_pairs_of_another_project_agree() -> None:
    """What differs: "PM" is spelled "P M" here, "https" is silent, "rtx-6000" has digits."""
    every, agreed = Counter[str](), Counter[str]()
    for kind, written, spoken in rows("nemo_en.tsv"):
        every[kind] += 1
        agreed[kind] += plain(normalize(written)) == plain(spoken)
    assert agreed.total() >= 0.85 * every.total(), {k: (agreed[k], every[k]) for k in every}
    for kind in ("date", "decimal", "fraction", "money", "ordinal", "cardinal"):
        assert agreed[kind] >= 0.94 * every[kind], kind
