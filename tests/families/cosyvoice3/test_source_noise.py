"""The fixed noise of the source: upstream's draws, in bounded memory."""

import threading

import pytest
import torch
from parity.cosyvoice3_vocoder import checkpoint_noise
from parity.golden import Golden
from paths import GOLDEN
from torch import Tensor

from benchmarks.full_size import COSYVOICE3
from tritone.families.cosyvoice3 import source_noise
from tritone.families.cosyvoice3.source_noise import SourceNoise


def tiny() -> SourceNoise:
    return checkpoint_noise(Golden(GOLDEN / "cosyvoice3", "checkpoint_noise"))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """A buffer of 60 rows in blocks of 10, of which two stay in memory; returns the buffer."""
    rows = tiny()(0, 60)
    for name, value in (("ROWS", 60), ("_BLOCK", 10), ("_KEPT", 2)):
        monkeypatch.setattr(source_noise, name, value)
    return rows


def test_the_release_s_rows() -> None:
    rows = SourceNoise(COSYVOICE3)(0, 24_000)
    first = [0.92282599, 0.47744751, 0.82705182, 0.28345716, 0.79348159]
    assert rows[0, :5].tolist() == pytest.approx(first, abs=1e-8)
    assert float(rows.double().sum()) == pytest.approx(108041.06703782, abs=1e-6)


def test_any_stretch_is_the_same(small_blocks: Tensor) -> None:
    for order in ((0, 25, 55), (55, 0, 25), (33, 3, 33)):
        noise = tiny()
        for first in order:
            assert torch.equal(noise(first, 5), small_blocks[first : first + 5])
    assert torch.equal(tiny()(0, 60), small_blocks)
    assert len(tiny()(7, 0)) == 0


def test_the_rows_begin_again_at_their_end(small_blocks: Tensor) -> None:
    around = torch.cat([small_blocks[55:], small_blocks, small_blocks[:2]])
    assert torch.equal(tiny()(55, 67), around)
    assert torch.equal(tiny()(60 * 10**9 + 3, 4), small_blocks[3:7])


def test_memory_is_bounded(small_blocks: Tensor) -> None:
    noise = tiny()
    for turn in range(3):
        for first in range(0, 60, 10):
            noise(60 * turn + first, 10)
    assert noise._block.cache_info().currsize == 2
    assert len(noise._states) == 60 // 10 + 1


def test_what_is_in_memory_is_not_drawn_again(small_blocks: Tensor) -> None:
    noise = tiny()
    for _ in range(5):
        noise(5, 10)
    assert noise._block.cache_info().misses == 2


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    tiny()(0, 100)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_get_the_same_rows(small_blocks: Tensor) -> None:
    noise, gate, wrong = tiny(), threading.Barrier(4), []

    def read(first: int) -> None:
        gate.wait()
        for turn in range(30):
            begin = (first + 7 * turn) % 50
            if not torch.equal(noise(begin, 10), small_blocks[begin : begin + 10]):
                wrong.append(begin)

    threads = [threading.Thread(target=read, args=(first,)) for first in (0, 11, 22, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
