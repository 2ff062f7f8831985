"""The doctor's view of torch on a GPU, through a made-up torch."""

from pathlib import Path

import pytest
from native_fakes import Package, packages
from out_of_time import HANG, by_marks

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.gpu import device

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_marks(monkeypatch, tmp_path / "marks")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return packages(tmp_path, monkeypatch)


FAKE = """
__version__ = "2.9.0"
bfloat16 = None
class version:
    cuda = {cuda!r}
class cuda:
    is_available = staticmethod(lambda: {available})
    device_count = staticmethod(lambda: {available})
    get_device_name = staticmethod(lambda index: "NVIDIA L4")
def ones(*shape, device, dtype):
    {ones}
"""


@pytest.mark.parametrize(
    "cuda, available, ones, status, sign",
    [
        (None, 0, "", Status.FAIL, "torch 2.9.0 is built for the CPU alone"),
        ("12.8", 0, "", Status.FAIL, "torch 2.9.0 for CUDA 12.8 sees no GPU"),
        ("12.8", 1, "raise RuntimeError('out of memory')", Status.FAIL, "out of memory"),
        ("12.8", 1, HANG, Status.FAIL, "did not compute on cuda:0"),
    ],
    ids=["cpu", "blind", "full", "hangs"],
)
def test_what_is_wrong(package: Package, cuda, available, ones, status, sign) -> None:
    code = FAKE.format(cuda=cuda, available=available, ones=ones or "pass")
    package("torch", code=code)
    finding = device.torch_computes("cuda:0", 1.5)
    assert finding.status is status
    assert sign in finding.text
    assert finding.fix


def test_it_computes(package: Package) -> None:
    product = "return type('T', (), {'__matmul__': lambda a, b: {(0, 0): 256}})()"
    package("torch", code=FAKE.format(cuda="12.8", available=1, ones=product))
    finding = device.torch_computes("cuda:0", 10)
    assert finding.status is Status.PASS
    assert "sees NVIDIA L4; products on cuda:0 are right" in finding.text
