"""How a preset gets from the command line to the flow."""

from pathlib import Path

import pytest

from tritone.cli import main
from tritone.cli.serve_options import parameters


def test_a_preset_is_a_setting_of_the_flow() -> None:
    assert parameters((), "exact") == {}
    assert parameters((), "fast") == {"token2wav": {"preset": "fast"}}


def test_what_is_set_wins() -> None:
    changed = ["token2wav.preset=faster", "token2wav.ode_steps=8", "frontend.threads=2"]
    assert parameters(changed, "fast") == {
        "token2wav": {"preset": "faster", "ode_steps": "8"},
        "frontend": {"threads": "2"},
    }


@pytest.mark.parametrize(
    "words", [["serve"], ["demo", "Hello."], ["offline", "--model=m", "--manifest=m", "--out=o"]]
)
def test_an_unknown_preset_is_refused_by_name(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main([*words, "--preset", "quick"]))
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "quick" in told and "faster" in told
