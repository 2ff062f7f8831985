"""The benchmark of IndexTTS2's sentence, on a tiny model."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_whole_release import whole_release

from benchmarks import __main__ as yardstick
from benchmarks import indextts2, peaks
from tritone.acoustic.presets import SolverChoice
from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.conversion import ConvertOptions
from tritone.config import CONFIG_NAME
from tritone.families import open_model
from tritone.families.indextts2 import FAMILY
from tritone.families.indextts2.convert import Conversion

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads would only wait for one another in networks of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indextts2")
    model = folder / "model"
    Conversion(whole_release(folder / "released"), model, ConvertOptions()).run()
    config = FAMILY.with_solver(open_model(model).config, SolverChoice(ode_steps=2))
    write_json(model / CONFIG_NAME, config.to_content())
    return model


@pytest.mark.parametrize("codes", [50, 130])
def test_every_way_says_the_same_codes(model: Path, codes: int) -> None:
    """At ends on a hop and between two."""
    bench = indextts2.Bench(model, codes, 1.0, "float32")
    spoken = np.concatenate([one.ids for one in bench._spoken()])
    drawn = np.concatenate([one.ids for one in bench._drawn()])
    assert len(spoken) == codes and np.array_equal(spoken, drawn)
    whole = np.concatenate(list(bench.whole()))
    again, once = list(bench.recomputed()), list(bench.computed_once())
    np.testing.assert_allclose(once[0], whole, atol=1e-4)
    assert len(np.concatenate(again)) == len(whole)
    assert len(np.concatenate(list(bench.streamed()))) == len(whole)


def test_the_table_has_every_way(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--quick", "--codes", "60", "--same-precision", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench", "--model", str(model), *options])
    assert indextts2.main() == 0
    written = json.loads((tmp_path / "indextts2.json").read_text())
    assert written["complete"] and written["settings"]["codes"] == 60
    assert written["settings"]["reference"] == indextts2.QUICK[1]
    assert all(row["value"] > 0 for row in written["figures"])
    said = capsys.readouterr().out
    assert "upstream's way for each packet, over ours, streamed" in said
    assert "1.20 s of speech after" in said  # 60 codes at 50 a second


def test_what_is_measured_is_kept_where_it_is_interrupted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: indextts2.Bench) -> Iterator[np.ndarray]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(indextts2.Bench, "recomputed", interrupted)
    options = ["--model", str(model), "--codes", "20", "--reference", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    assert indextts2.main() == 130
    written = json.loads((tmp_path / "indextts2.json").read_text())
    assert not written["complete"]
    names = {row["name"] for row in written["figures"]}
    assert names > {"ours, streamed, CPU", "ours, whole, CPU"}
    assert "ours, whole, CPU" in capsys.readouterr().out


@pytest.mark.parametrize("codes", ["0", "100000"])
def test_a_sentence_that_cannot_be_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: str
) -> None:
    options = ["--model", str(model), "--codes", codes, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    assert indextts2.main() == 2


def test_the_yardstick_of_other_families_points_here(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peaks, "measured", lambda: peaks.Peaks(1.0, 1.0, 1.0, None))
    for part in ("llm", "stages", "growth"):
        given = ["--model", str(model), "--out", str(tmp_path), "--parts", part]
        assert yardstick.main(given) == 2
        assert "python -m benchmarks.indextts2" in capsys.readouterr().err


def test_no_model_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--model", str(tmp_path), "--out", str(tmp_path)])
    assert indextts2.main() == 2
    assert "config.json does not exist" in capsys.readouterr().err
