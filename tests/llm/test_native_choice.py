"""Which computes the language model: kernels by name, automatically, and where there are none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from llm_model import Built, Open, build_tiny, models, request, tokens_of

from tritone.errors import EnvironmentProblem
from tritone.llm.native.choice import AUTO, NAMES, ONNX, PRECISION, chosen
from tritone.llm.native.slots import NativeSlots
from tritone.llm.onnx.slots import OnnxSlots
from tritone.loading.steps import Loader, Report
from tritone.resources.kernels.build import DECODER_KERNELS

HERE = [kernel for kernel in DECODER_KERNELS if kernel.runs_here]
OURS = [kernel.name for kernel in DECODER_KERNELS]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("model")
    return folder, build_tiny(folder, "int8_rows", "fp32")


@pytest.fixture
def open_model(built: Built) -> Iterator[Open]:
    yield from models(built)


def test_the_best_that_is_built_serves(built_kernels: Path) -> None:
    assert chosen(AUTO, PRECISION, 1) == (HERE[0], f"kernel {HERE[0].name}")
    HERE[0].path.rename(HERE[0].path.with_suffix(".away"))
    try:
        others = [kernel.name for kernel in HERE[1:]]
        kernel, _ = chosen(AUTO, PRECISION, 1)
        assert (kernel.name if kernel else None) == next(iter(others), None)
    finally:
        HERE[0].path.with_suffix(".away").rename(HERE[0].path)
    for kernel in HERE:
        assert chosen(kernel.name, PRECISION, 1)[0] is kernel


@pytest.mark.usefixtures("built_kernels")
def test_onnx_runtime_where_it_is_asked_for_and_for_what_kernels_cannot() -> None:
    for asked, precision, threads, why in (
        (ONNX, PRECISION, 1, "as asked for"),
        (AUTO, "int8", 1, "for the precision int8_rows, not int8"),
        (AUTO, PRECISION, 2, "on one thread, not 2"),
    ):
        kernel, told = chosen(asked, precision, threads)
        assert kernel is None and told.startswith("ONNX Runtime") and why in told


@pytest.mark.parametrize("name", OURS)
def test_a_kernel_by_name_is_taken_or_refused(name: str, built_kernels: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=f"kernels is {name}: .* not fp32; take auto or"):
        chosen(name, "fp32", 1)
    with pytest.raises(EnvironmentProblem, match=f"kernels is {name}: .* one thread, not 4"):
        chosen(name, PRECISION, 4)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match=f"'vnni'; take one of {', '.join(NAMES)}"):
        chosen("vnni", PRECISION, 1)


@pytest.mark.skipif(not HERE, reason="no kernel is for this processor")
def test_where_none_is_built() -> None:
    kernel, why = chosen(AUTO, PRECISION, 1)
    assert kernel is None and "not built: run `tritone kernels`" in why
    with pytest.raises(EnvironmentProblem, match="is not built: run `tritone kernels`"):
        chosen(HERE[0].name, PRECISION, 1)


def test_a_processor_that_runs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritone.resources.processor.instructions", lambda: {"avx_vnni"})
    kernel, why = chosen(AUTO, PRECISION, 1)
    assert kernel is None and "this processor lacks avx512f" in why
    with pytest.raises(EnvironmentProblem, match=r"amx: this processor lacks .*amx_int8"):
        chosen("amx", PRECISION, 1)


@pytest.mark.usefixtures("built_kernels")
def test_one_that_cannot_be_loaded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise EnvironmentProblem(f"the kernel {path} cannot be loaded: no such")

    monkeypatch.setattr("tritone.llm.native.choice.opened", refuse)
    kernel, why = chosen(AUTO, PRECISION, 1)
    assert kernel is None and "cannot be loaded: no such" in why
    with pytest.raises(EnvironmentProblem, match="cannot be loaded: no such; take auto or onnx"):
        chosen(HERE[0].name, PRECISION, 1)


@pytest.mark.parametrize("kernels", [AUTO, ONNX])
def test_a_stream_is_the_same_alone_and_in_company(
    open_model: Open, built_kernels: Path, kernels: str
) -> None:
    """And says the same on ONNX Runtime, of so small a model."""
    reports: list[Report] = []
    with Loader("llm", reports.append):
        model = open_model(precision="int8_rows", kernels=kernels)
    assert isinstance(model._session, OnnxSlots if kernels == ONNX else NativeSlots)
    (done,) = (r for r in reports if r.step == "LLM session" and r.kind == "done")
    ours = f"kernel {HERE[0].name}"
    assert done.note == ("ONNX Runtime, as asked for" if kernels == ONNX else ours)
    alone = [tokens_of(model.submit(request(seed))) for seed in range(5)]
    streams = [model.submit(request(seed)) for seed in range(5)]
    assert [tokens_of(stream) for stream in streams] == alone
    other = open_model(precision="int8_rows", kernels=ONNX)
    assert [tokens_of(other.submit(request(seed))) for seed in range(5)] == alone


def test_no_graph_is_built_for_a_kernel(tmp_path: Path, built_kernels: Path) -> None:
    config = build_tiny(tmp_path)
    for opened in models((tmp_path, config)):
        model = opened(precision="int8_rows")
        assert len(tokens_of(model.submit(request(1)))) == 20
        assert not (tmp_path / "llm" / "onnx").exists()
