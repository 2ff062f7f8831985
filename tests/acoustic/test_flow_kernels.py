"""A flow whose attention is a kernel in C speaks as with torch's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from native_kernels import NAMES, dtype_of, native
from small_models import small_cosyvoice3
from token2wav_model import placed, tiny_network

from benchmarks.random_model import write_model
from benchmarks.streams import some_prompt
from tritone.acoustic.kernels.native import NativeAttention
from tritone.acoustic.placement import FlowSettings
from tritone.arrays import Float32
from tritone.errors import EnvironmentProblem
from tritone.families.cosyvoice3.acoustics import load_flow
from tritone.llm.contract import Increment

pytestmark = pytest.mark.usefixtures("own_ways")
CONFIG = small_cosyvoice3()  # two heads of 32
CHUNK = CONFIG.flow.chunk_size


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_model(folder, CONFIG)
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that are called, in their order."""
    names: list[str] = []
    real = NativeAttention.__call__

    def called(self: NativeAttention, *arguments: object) -> torch.Tensor:
        names.append(self.name)
        return real(self, *arguments)

    monkeypatch.setattr(NativeAttention, "__call__", called)
    return names


def spoken(model: Path, attention: str, dtype: torch.dtype) -> Float32:
    """Frames (bins, n) of a stream of two whole chunks, one of which is taken in parts."""
    flow = load_flow(model, CONFIG, FlowSettings(dtype=dtype, attention=attention))
    codes = np.random.default_rng(1).integers(0, 6561, 3 * CHUNK).astype(np.int32)
    state, mels = flow.open(some_prompt(CONFIG, 30)[1]), []
    for part in (codes[: CHUNK + 5], codes[CHUNK + 5 :]):
        mel, state = flow.step(Increment(part), state, finalize=len(part) > CHUNK + 5)
        mels.append(mel)
    return np.concatenate(mels, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_it_speaks_the_same(name: str, model: Path, built: Path, calls: list[str]) -> None:
    native(name, built)
    dtype = dtype_of(name)
    expected = spoken(model, "fused", dtype)
    assert calls == []
    found = spoken(model, name, dtype)
    assert set(calls) == {name} and len(calls) > 4
    apart = np.sqrt(np.square(found - expected).mean()) / expected.std()
    assert apart < (1e-5 if dtype is torch.float32 else 0.03)


def test_in_float32_it_is_the_same_to_the_last_bit_each_time(model: Path, built: Path) -> None:
    native("avx512", built)
    first, again = (spoken(model, "auto", torch.float32) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_flow_with_other_heads_has_torch_s(built: Path, calls: list[str]) -> None:
    """Of 12; by name it is refused."""
    native("avx512", built)
    placed(tiny_network(), FlowSettings(dtype=torch.float32))
    assert calls == []
    with pytest.raises(EnvironmentProblem, match=r"does not take torch.float32 and heads of 12"):
        placed(tiny_network(), FlowSettings(dtype=torch.float32, attention="avx512"))
