"""Scrapes of a server's metrics, and promtool."""

import re
import shutil
import subprocess
from urllib.request import urlopen

from paths import PROJECT
from prometheus_client.parser import text_string_to_metric_families
from waiting import HANG_S

MONITORING = PROJECT / "monitoring"
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=PROJECT / ".venv" / "bin")

Labels = frozenset[tuple[str, str]]


def text_of(url: str) -> str:
    with urlopen(url, timeout=HANG_S) as answer:
        return answer.read().decode()


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """(name, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Scrape:
    """One scrape, asked by name and labels."""

    def __init__(self, text: str) -> None:
        self.text, self._samples = text, samples(text)

    def __getitem__(self, name: str) -> float:
        return self.of(name)

    def of(self, name: str, **labels: str) -> float:
        return self._samples[name, frozenset(labels.items())]

    @property
    def names(self) -> set[str]:
        """As they are written: the parser gives every counter the end that it should have."""
        return set(re.findall(r"^([a-z]\w*)[ {]", self.text, re.MULTILINE))


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run(
        [PROMTOOL, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
