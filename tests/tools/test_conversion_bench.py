"""The benchmark of conversions, on small releases with upstream's names."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from paths import GOLDEN
from safetensors.torch import load_file
from small_models import small_llm
from torch import Tensor

from benchmarks import conversion
from benchmarks.family_parts import PARTS
from benchmarks.full_size import COSYVOICE2, COSYVOICE3, AnyConfig
from benchmarks.release import llm_shapes, write_release
from tritone.checkpoints.conversion import ConvertOptions
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.families import all_families, open_model
from tritone.families.cosyvoice2 import released_model as released2
from tritone.families.cosyvoice3 import released_model as released3

pytestmark = pytest.mark.slow


def cosyvoice2(tables: Path) -> AnyConfig:
    folder = GOLDEN / "token2wav"
    values = YamlValues(folder / "tiny_checkpoint" / "cosyvoice2.yaml")
    flow = load_file(folder / "flow_weights.safetensors")
    listed(tables, COSYVOICE2, flow, load_file(folder / "hift_weights.safetensors"))
    sizes = {"flow": released2.flow_config(values, flow), "llm": small_llm(COSYVOICE2.llm)}
    return COSYVOICE2.model_copy(update={**sizes, "vocoder": released2.vocoder_config(values)})


def cosyvoice3(tables: Path) -> AnyConfig:
    folder = GOLDEN / "cosyvoice3"
    values = YamlValues(folder / "cosyvoice3.yaml")
    weights = (load_file(folder / f"{name}_weights.safetensors") for name in ("flow", "hift"))
    listed(tables, COSYVOICE3, *weights)
    sizes = {"flow": released3.flow_config(values), "llm": small_llm(COSYVOICE3.llm)}
    return COSYVOICE3.model_copy(update={**sizes, "vocoder": released3.vocoder_config(values)})


def listed(
    folder: Path, full: AnyConfig, flow: Mapping[str, Tensor], hift: Mapping[str, Tensor]
) -> None:
    """Write the lists of names and shapes that a release of other sizes would have."""
    parts = PARTS[full.family]
    folder.mkdir()
    for name, weights in ((parts.flow_table, flow), (parts.vocoder_table, hift)):
        rows = (f"{key}\t{list(value.shape)}" for key, value in weights.items())
        (folder / name).write_text("\n".join(["key\tshape", *rows]), encoding="utf-8")


@pytest.mark.parametrize("small", [cosyvoice2, cosyvoice3])
def test_a_release_of_random_weights_is_converted(
    small: Callable[[Path], AnyConfig], tmp_path: Path
) -> None:
    size = small(tmp_path / "tables")
    write_release(tmp_path / "release", size, tmp_path / "tables")
    (family,) = (f for f in all_families() if f.recognises(tmp_path / "release"))
    checked = list(
        family.convert(tmp_path / "release", tmp_path / "model", ConvertOptions(graphs=()))
    )
    assert any("s of finite audio" in line for line in checked)
    found = open_model(tmp_path / "model").config
    assert (found.llm, found.flow, found.vocoder) == (size.llm, size.flow, size.vocoder)


def test_a_conversion_is_measured_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run finds the release."""
    size, written = cosyvoice3(tmp_path / "tables"), tmp_path / "release-cosyvoice3"
    conversion.release(written, size, tmp_path / "tables")
    stamps = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    options = ["--family", "cosyvoice3", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["conversion", *options])
    assert conversion.main() == 0
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == stamps
    seconds, memory = json.loads((tmp_path / "conversion.json").read_text())["figures"]
    assert seconds["unit"] == "s" and seconds["value"] > 0
    assert memory["unit"] == "MB" and memory["value"] > 50  # torch alone has more
    assert "| conversion, release-cosyvoice3 |" in capsys.readouterr().out


def test_every_round_converts_into_an_empty_folder_and_the_last_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []

    def convert(released: Path, target: Path) -> tuple[float, float]:
        assert not target.exists()
        target.mkdir()
        (target / str(len(begun))).touch()
        begun.append(target)
        return 1.0, 1.0

    monkeypatch.setattr(conversion, "convert", convert)
    conversion.figures_of(tmp_path / "release", 3, keep=tmp_path / "kept")
    assert len(begun) == 3
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "kept",
        "kept/2",
    ]


def test_a_conversion_that_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    released = tmp_path / "release-cosyvoice3"
    released.mkdir()
    (released / PARTS["cosyvoice3"].yaml).write_text("{}")
    options = ["--family", "cosyvoice3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["conversion", *options])
    assert conversion.main() == 2
    assert "ended with status 1; see above" in capfd.readouterr().err
    assert not (tmp_path / "conversion.json").exists()


def test_the_sizes_of_the_language_model_are_the_release_s() -> None:
    shapes, text_head = llm_shapes(COSYVOICE3), 151_936 * 896
    assert len(shapes) + 1 == 293
    assert sum(map(math.prod, shapes.values())) + text_head == 642_283_136
