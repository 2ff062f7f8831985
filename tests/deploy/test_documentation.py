"""README and docs name commands, targets, files, settings and names that exist, and all of them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from paths import PROJECT

import tritone
import tritone_client
from tritone.checkpoints.licences import OPTION, check_accepted
from tritone.errors import InvalidRequest
from tritone.families import all_families
from tritone.families.contract import Family
from tritone.families.indextts2 import FAMILY as INDEXTTS2

README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]
MODELS = PROJECT / "model_repo"
FOREIGN = {"scripts/build_wheel.py"}  # TensorRT-LLM's

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def page_of(name: str) -> str:
    return text_of(PROJECT / "docs" / f"{name}.md")


def codes(page: Path) -> Iterator[str]:
    """What stands in code, in blocks and in lines."""
    text = text_of(page)
    yield from (block for _, block in FENCED.findall(text))
    yield from INLINE.findall(FENCED.sub("", text))


def named(pattern: str) -> set[str]:
    """What the one group of a pattern finds in the code of all pages."""
    return {name for page in PAGES for code in codes(page) for name in re.findall(pattern, code)}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


def test_the_readme_is_one_page() -> None:
    assert README.stat().st_size <= 8 * 1024


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", FENCED.sub("", text_of(page))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/\w+\.md)\b", text_of(README)))
    assert linked == {f"docs/{page.name}" for page in PAGES[1:]}


def test_commands_are_named_as_they_are() -> None:
    run = [sys.executable, "-m", "tritone", "--help"]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "100"}
    shown = subprocess.run(
        run, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True, timeout=280
    )
    known = set(re.findall(r"^[ │|]*([a-z]+) {2,}\S", shown.stdout, flags=re.MULTILINE))
    said = named(r"(?<![\w./-])tritone ([a-z]+)\b")
    assert known and said == known


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", text_of(PROJECT / "Makefile"), flags=re.MULTILINE))
    said = named(r"(?<![\w./-])make ([a-z][\w-]*)")
    assert {"demo", "test"} <= said and said - targets == set()


def test_setup_builds_kernels_and_never_fails_of_it() -> None:
    make = ["make", "--no-print-directory", "--dry-run", "--always-make", "setup"]
    shown = subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "-m tritone kernels --quiet || true\n" in shown


def test_make_passes_on_the_port_that_is_set() -> None:
    targets = ["serve", "doctor", "top", "say"]
    make = ["make", "--no-print-directory", "--dry-run", *targets, "PORT_BASE=9100"]
    shown = subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"-m tritone (?!kernels)(\w+) (.*)", shown)
    ports = {name: re.findall(r"9\d{3}\b", words) for name, words in commands}
    assert ports == {"serve": ["9100"], "doctor": ["9100"], "top": ["9100"], "say": ["9101"]}


def made_model(*variables: str) -> list[str]:
    """The commands by which `make model` does it."""
    make = ["make", "--no-print-directory", "--dry-run", "model", *variables]
    done = subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True)
    return re.findall(r"-m tritone (?!kernels)(.*?) *$", done.stdout, flags=re.MULTILINE)


def test_make_converts_each_release_into_a_folder_of_its_own() -> None:
    families = {r.name: family for family in all_families() for r in family.releases}
    for name, family in families.items():
        assert made_model(f"RELEASE={name}")[1] == f"convert models/{name} models/{family.name}"


def test_make_passes_on_the_licences_that_are_accepted() -> None:
    plain = ["download --release A --dir models/A", "convert models/A models/A-converted"]
    assert made_model("RELEASE=A") == plain
    with pytest.raises(InvalidRequest) as told:
        check_accepted(INDEXTTS2.licences, ())
    (variable,) = re.findall(r'with make model .*(LICENCES)="', str(told.value))
    (names,) = re.findall(rf'{variable}="([^"]+)"', str(told.value))
    accepted = "".join(f" {OPTION} {name}" for name in names.split())
    assert len(names.split()) == 2
    expected = [command + accepted for command in plain]
    assert made_model("RELEASE=A", f"{variable}={names}") == expected


def test_every_path_that_is_named_exists() -> None:
    tops = "benchmarks|checkpoints|client|docs|evaluation|model_repo|monitoring|scripts|tests"
    paths = named(rf"(?<![\w./-])((?:{tops}|training|tritone)/[\w./*-]+)") - FOREIGN
    assert len(paths) > 20
    missing = [p for p in paths if "NAME" not in p and not list(PROJECT.glob(p.rstrip("./")))]
    assert missing == []


def test_the_folders_are_those_of_the_readme() -> None:
    block = re.search(r"## Folders\n+```\n(.*?)```", text_of(README), flags=re.DOTALL)
    assert block
    ignored = [line.strip("/") for line in text_of(PROJECT / ".gitignore").split()]
    found = [path.name for path in PROJECT.glob("[!.]*/")]
    folders = [name for name in found if not any(fnmatch(name, pattern) for pattern in ignored)]
    said = [line.partition("/")[0] for line in block[1].splitlines()]
    assert sorted(said) == sorted(folders)


def test_the_rooms_are_those_of_the_architecture() -> None:
    section = page_of("architecture").partition("## The rooms")[2].partition("\n## ")[0]
    said = INLINE.findall(" ".join(re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)))
    package = PROJECT / "tritone"
    folders = {p.name for p in package.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    rooms = {p.stem for p in package.glob("[!_]*.py")} | folders
    assert sorted(said) == sorted(rooms)


def test_the_contract_is_described_member_for_member() -> None:
    section = page_of("architecture").partition("## The contract")[2].partition("\n### ")[0]
    members = {*vars(Family), *Family.__annotations__}
    public = {name for name in members if not name.startswith("_")}
    assert {name for name in public if not re.search(rf"`{name}\b", section)} == set()


def test_every_setting_input_and_output_is_described() -> None:
    page = page_of("serving")
    files = [p for p in MODELS.rglob("*.pbtxt") if p.stem != "gpu-backend"]
    keys = {k for p in files for k in re.findall(r'key: "(\w+)"', text_of(p))} - {"runtime"}
    public = re.findall(r'put \{ name: "(\w+)"', text_of(MODELS / "cosyvoice2" / "config.pbtxt"))
    assert len(keys) > 15 and len(public) > 10
    assert {name for name in (*keys, *public) if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("module", [tritone, tritone_client], ids=lambda module: module.__name__)
def test_what_can_be_imported_is_what_is_said(module: Any) -> None:
    said = re.search(rf"^Names to import from `{module.__name__}`(.*)$", page_of("serving"), re.M)
    assert said and sorted(INLINE.findall(said[1])) == sorted(module.__all__)
    used = re.findall(rf"from {module.__name__} import ([\w, ]+)", text_of(README))
    assert {name for names in used for name in names.split(", ")} <= set(module.__all__)


def snippets() -> list[str]:
    return [block for language, block in FENCED.findall(text_of(README)) if language == "python"]


def test_the_snippets_of_the_readme_run() -> None:
    over_grpc, in_process = snippets()
    compile(over_grpc, "README.md", "exec")
    values: dict[str, Any] = {}
    exec(compile(in_process, "README.md", "exec"), values)
    assert len(values["whole"]) > 0.2 * values["tts"].sample_rate
