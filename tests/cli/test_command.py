"""The command `tritone`: what it imports, what it forwards, and how it refuses."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from command_line import options_of
from paths import EMBEDDED, PROJECT
from waiting import HANG_S

from tritone import cli
from tritone.cli.command import run

COMMANDS = [name for name, summary in cli._COMMANDS.items() if summary]


def tritone(*words: str) -> int:
    """The exit status, whichever parser the subcommand has."""
    try:
        return cli.main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("words", "told"), [(["--help"], "doctor"), (["doctor", "--list"], "machine.cpu")]
)
def test_it_runs_where_numpy_and_torch_are_broken(words: list[str], told: str) -> None:
    """A module that is None in sys.modules cannot be imported."""
    block = "import sys; sys.modules.update(numpy=None, torch=None); from tritone.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{block}sys.exit(main({words}))"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=PROJECT,
    )
    assert done.returncode == 0 and told in done.stdout, done.stderr


def test_the_help_names_every_command_and_not_the_demo(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tritone("--help") == 0
    told = capsys.readouterr().out
    assert all(f" {name} " in told for name in COMMANDS) and " demo " not in told


@pytest.mark.parametrize("name", ["serve", "say", "doctor", "load", "top", "bench", "voices"])
def test_a_subcommand_has_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritone(name, "--help") == 0
    told = capsys.readouterr().out
    assert (f"tritone {name}" in told and "Exit status" in told) or name in ("say", "voices")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["srve"], ["No such command 'srve'", "'tritone --help'"]),
        (["--prot"], ["No such option: --prot"]),
        (["serve", "--prot-base", "1"], ["No such option: --prot-base", "--port-base"]),
        (["serve", "--port-base", "http"], ["'--port-base'", "valid integer"]),
        (["serve", "--profile", "tpu"], ["'tpu' is not one of", "'gpu-torch'"]),
        (["say", "hi", "--loud"], ["tritone say: error", "--loud"]),
        (["load", "/nowhere"], ["/nowhere is no folder", "tritone convert"]),
        (["voices", "--model", "/nowhere"], ["/nowhere is not a Tritone model directory"]),
    ],
)
def test_what_is_wrong_is_named_with_the_next_step(
    words: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tritone(*words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert all(part in said for part in told), said


def test_a_missing_model_directory_keeps_the_server_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none"
    options = ["--no-gateway", "--model", str(missing), "--cache-dir", str(tmp_path)]
    assert tritone("serve", *options) == 2
    assert f"{missing} has no config.json" in capsys.readouterr().err


def test_it_is_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tritone", "say", "--help"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=PROJECT,
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: tritone say ")


Names = Annotated[list[str] | None, typer.Option()]


def test_an_option_may_take_several_values_or_none() -> None:
    got: list[dict] = []

    def keep(word: str = "", only: Names = None, half: str = "no", loud: bool = False) -> int:
        got.append({"word": word, "only": only, "half": half, "loud": loud})
        return 7

    line = ["--only", "a", "b", "--half", "--only", "c", "--loud", "--word", "w"]
    assert run(keep, line, "test") == 7
    assert run(keep, ["--half", "fp16"], "test") == 7
    assert run(keep, ["--half"], "test") == 7
    assert got[0] == {"word": "w", "only": ["a", "b", "c"], "half": "bf16", "loud": True}
    assert [one["half"] for one in got[1:]] == ["fp16", "bf16"]


def test_an_interrupt_reaches_the_subcommand() -> None:
    """And not the parser, which has statuses of its own."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, [], "test")


def test_further_arguments_are_the_servers() -> None:
    from tritone.cli.serve import serve

    options = options_of(serve, ["--no-warm-up", "--", "--log-info=false", "x"])
    assert options["arguments"] == ["--log-info=false", "x"] and not options["warm_up"]


def test_voices(capsys: pytest.CaptureFixture[str]) -> None:
    assert tritone("voices", "--model", str(EMBEDDED)) == 0
    heart, joe = capsys.readouterr().out.splitlines()
    assert heart.split()[:2] == ["*", "heart"] and joe.split()[0] == "joe"
    size, unit, *transcript = joe.split()[1:]
    assert unit == "kB" and 10 < float(size) < 1000 and transcript[-1] == "voluptuously."


def test_normalize(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert tritone("normalize", "It is 3 km.", "3千米") == 0
    assert capsys.readouterr().out.splitlines() == ["It is three kilometers.", "三千米"]
    monkeypatch.setattr("sys.stdin", io.StringIO("12\n\n12\n"))
    assert tritone("normalize", "--language", "zh") == 0
    assert capsys.readouterr().out.splitlines() == ["十二", "", "十二"]
