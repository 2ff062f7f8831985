"""docs/troubleshooting.md names checks, files, links and commands that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import typer
from paths import PROJECT

from tritone.cli.doctor import known_checks
from tritone.cli.groups import flat

PAGE = PROJECT / "docs" / "troubleshooting.md"
TEXT = PAGE.read_text(encoding="utf-8")
PARTS = ("Symptom", "Cause", "Check", "Fix")

NAMES = {check.name for check in known_checks()}
GROUPS = {check.group for check in known_checks()}
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
BLOCKS = re.findall(r"```\w+\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [*CODE, *(line.lstrip("$ ") for block in BLOCKS for line in block.splitlines())]
ENTRIES = {
    section.partition("\n")[0]: section for section in re.split(r"^## ", TEXT, flags=re.M)[1:]
}


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {slug(heading) for heading in found}


def asked_for() -> set[str]:
    """What stands behind --only in the page's commands, and all that looks like a check."""
    behind = [re.split(r" --only ", command)[1:] for command in COMMANDS]
    words = [word for parts in behind for part in parts for word in _until_option(part)]
    dotted = [code for code in CODE if re.fullmatch(rf"({'|'.join(GROUPS)})\.[a-z0-9_]+", code)]
    return {*words, *dotted}


def _until_option(words: str) -> list[str]:
    before = re.split(r" +--| +#", words)[0]
    return before.split()


def test_every_check_that_is_named_exists() -> None:
    named = asked_for()
    assert len(named) > 40
    assert named - NAMES - GROUPS == set()


def test_every_group_and_every_check_is_named() -> None:
    """An entry that says which check finds it, for each thing that the doctor can find."""
    named = asked_for()
    assert GROUPS - {name.partition(".")[0] for name in named} == set()
    whole = named & GROUPS  # where a group is one subject, its name is enough
    assert {name for name in NAMES - named if name.partition(".")[0] not in whole} == set()


@pytest.mark.parametrize("heading", [h for h in ENTRIES if "elsewhere" not in h])
def test_every_entry_has_its_four_parts_and_a_check(heading: str) -> None:
    entry = ENTRIES[heading]
    assert [part for part in PARTS if f"**{part}**:" not in entry] == []
    checking = entry.partition("**Check**")[2].partition("**Fix**")[0]
    assert "tritone doctor" in checking


@pytest.mark.parametrize("heading", ENTRIES)
def test_every_entry_can_be_found_in_chinese(heading: str) -> None:
    english, _, chinese = heading.partition(" · ")
    assert re.search("[A-Za-z]{3}", english)
    assert re.search("[\u4e00-\u9fff]{2}", chinese)


def test_the_contents_name_every_entry() -> None:
    contents = TEXT.partition("\n## ")[0]
    links = set(re.findall(r"\]\(#([^)]+)\)", contents))
    assert links == {slug(heading) for heading in ENTRIES}


def test_every_relative_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    assert len(links) > 20
    for link in links:
        path, _, anchor = link.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.is_file(), link
        assert not anchor or anchor in headings(page), link


def test_every_file_of_ours_that_is_named_exists() -> None:
    pattern = r"(?<![\w/])(?:scripts|model_repo|docs|benchmarks|tritone)/[\w./-]+\.\w+"
    named = {name for command in COMMANDS for name in re.findall(pattern, command)}
    assert "model_repo/vocoder/config.pbtxt" in named
    upstreams = {"scripts/build_wheel.py"}  # TensorRT-LLM's
    assert [name for name in named - upstreams if not (PROJECT / name).is_file()] == []


@pytest.mark.parametrize("command", ["doctor", "load", "serve", "download", "convert"])
def test_every_option_that_is_named_exists(command: str) -> None:
    beginning = rf"(?:^|[ (])tritone {command}\b"
    parts = [re.split(beginning, line)[1:] for line in COMMANDS]
    ours = [re.split(r" -- | +# |; ", part)[0] for found in parts for part in found]
    assert ours
    named = {option for words in ours for option in re.findall(r"(?<= )--[a-z][\w-]*", words)}
    assert named - options_of(command) == set()


def options_of(command: str) -> set[str]:
    app = typer.Typer()
    app.command()(flat(getattr(import_module(f"tritone.cli.{command}"), command)))
    known = typer.main.get_command(app).params
    return {name for option in known for name in (*option.opts, *option.secondary_opts)}


def test_every_make_target_that_is_named_exists() -> None:
    targets = {match[1] for code in COMMANDS if (match := re.match(r"make (\w[\w-]*)", code))}
    assert "model" in targets
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert targets - set(re.findall(r"^([\w-]+):", makefile, flags=re.M)) == set()


def test_the_parts_of_a_requests_time_are_those_of_the_record() -> None:
    from tritone.synthesis.timing import PARTS as parts

    entry = next(text for heading, text in ENTRIES.items() if "first packet" in heading)
    assert [part for part in parts if f"`{part}`" not in entry] == []
