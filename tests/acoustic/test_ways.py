"""Which way of attention is taken, by name and by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from native_kernels import NAMES, SHORT, drawn, dtype_of, kernel, native, spans_of
from torch import Tensor

from tritone.acoustic import ways
from tritone.acoustic.attention import attend, fused_by_span
from tritone.acoustic.ways import choose
from tritone.errors import EnvironmentProblem


@pytest.fixture(autouse=True)
def no_gradients(own_ways: None) -> Iterator[None]:
    with torch.inference_mode():
        yield


def query(dtype: torch.dtype = torch.float32, width: int = 32) -> Tensor:
    return drawn((2, 2, 20, width), 1, dtype)


def fused(dtype: torch.dtype) -> Tensor:
    return fused_by_span(query(dtype), spans_of([50, 20], (2, 2, 32), dtype))


def chosen(dtype: torch.dtype) -> Tensor:
    spans = spans_of([50, 20], (2, 2, 32), dtype)
    return attend(query(dtype), spans, [None] * len(spans))


class TestByName:
    def test_an_unknown_one(self) -> None:
        with pytest.raises(
            EnvironmentProblem, match=r"attention is 'flash'; take one of auto, amx"
        ):
            choose("flash", query())

    @pytest.mark.parametrize("name", NAMES)
    def test_one_that_is_not_built(self, name: str) -> None:
        if not kernel(name).runs_here:
            pytest.skip(f"this processor lacks {kernel(name).lacking}")
        with pytest.raises(
            EnvironmentProblem, match=f"{name}, which is not built: run `tritone ker"
        ):
            choose(name, query(dtype_of(name)))

    def test_one_that_is_for_other_processors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tritone.resources.processor.instructions", dict)
        with pytest.raises(
            EnvironmentProblem, match=r"amx: this processor lacks avx512f, .*amx_ti"
        ):
            choose("amx", query(SHORT))

    @pytest.mark.parametrize("name", NAMES)
    def test_one_that_is_built(self, name: str, built: Path) -> None:
        way, dtype = native(name, built), dtype_of(name)
        assert choose(name, query(dtype)) == name
        assert torch.equal(chosen(dtype), way(query(dtype), spans_of([50, 20], (2, 2, 32), dtype)))

    @pytest.mark.parametrize("name", NAMES)
    def test_other_precisions_and_widths(self, name: str, built: Path) -> None:
        native(name, built)
        dtype = dtype_of(name)
        other = torch.float32 if dtype is SHORT else SHORT
        for refused in (query(other), query(dtype, 40), query(torch.float16)):
            with pytest.raises(EnvironmentProblem, match=f"{name}, which does not take torch"):
                choose(name, refused)

    @pytest.mark.parametrize("name", ["fused", "joined", "plain"])
    def test_torch_s_are_always_there(self, name: str) -> None:
        assert choose(name, query()) == name
        assert torch.allclose(chosen(torch.float32), fused(torch.float32), atol=1e-5)


class TestAuto:
    @pytest.mark.parametrize("dtype", [torch.float32, SHORT])
    def test_without_kernels(self, dtype: torch.dtype) -> None:
        assert choose("auto", query(dtype)).startswith(("fused", "joined"))
        assert torch.allclose(chosen(dtype).float(), fused(dtype).float(), atol=0.02)

    def test_in_float32_nothing_is_measured(
        self, built: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stream is the same to the last bit each time."""
        native("avx512", built)
        monkeypatch.setattr(ways, "_measured", None)
        assert choose("auto", query()) == "avx512"
        assert choose("auto", query(width=40)) == "fused"

    @pytest.mark.parametrize(
        ("seconds", "name"),
        [
            ({"fused": 10, "amx": 8, "avx512-bf16": 9, "joined": 9}, "amx"),
            ({"fused": 10, "amx": 8, "avx512-bf16": 6, "joined": 9}, "avx512-bf16"),
            ({"fused": 10, "amx": 9.5, "avx512-bf16": 9.1, "joined": 9.2}, "fused"),
            ({"fused": 10, "amx": 8, "avx512-bf16": 8, "joined": 7}, "joined"),
        ],
    )
    def test_in_bfloat16_times_decide(
        self, seconds: dict, name: str, built: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for each in ("amx", "avx512-bf16"):
            native(each, built)
        monkeypatch.setattr(ways, "_measured", lambda found, _: {n: seconds[n] for n in found})
        assert choose("auto", query(SHORT)).startswith(f"{name} (fused 10000.00, amx ")

    @pytest.mark.parametrize("dtype", [torch.float32, SHORT])
    def test_heads_that_no_kernel_takes(self, dtype: torch.dtype, built: Path) -> None:
        said = choose("auto", query(dtype, 40))
        assert said.startswith(("fused", "joined")) and "avx512" not in said

    def test_another_network_with_other_heads_has_torch_s(self, built: Path) -> None:
        native("avx512", built)
        choose("auto", query())
        spans = spans_of([50], (2, 2, 24), torch.float32)
        narrow = query(width=24)
        assert torch.equal(attend(narrow, spans, [None]), fused_by_span(narrow, spans))
