"""Memory of slots is that of the streams there are."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llm_model import Built, Open, build_tiny, models, request, tokens_of
from memory_pages import pages
from waiting import wait_until

from tritone.errors import StageFailed
from tritone.llm.onnx.slot_memory import SlotMemory
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.scheduler import SlotLanguageModel


def test_a_cleared_slot_takes_nothing_and_its_neighbours_stay() -> None:
    memory = SlotMemory((3, 5, 1000))  # of pages that two slots share
    assert pages(memory.array).sum() == 0 and not memory.array.any()
    memory.array[:] = np.arange(3)[:, None, None] + 1
    whole = pages(memory.array).sum()
    memory.clear(1)
    assert whole - pages(memory.array).sum() == 4
    assert (memory.array[0] == 1).all() and (memory.array[2] == 3).all()
    memory.array[1] = 4
    assert memory.array.sum() == 5000 * (1 + 4 + 3)


def test_a_position_takes_small_pages_whatever_the_system_has_as_a_rule() -> None:
    memory = SlotMemory((4, 1 << 20))
    place = memory.array.ctypes.data
    held = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and not name.endswith(":"):
            begin, end = (int(address, 16) for address in name.split("-"))
            held = begin <= place < end
        elif held and name == "VmFlags:":
            assert "nh" in rest.split()
            return
    pytest.fail("its mapping is not told")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32")


@pytest.fixture
def open_model(built: Built) -> Iterator[Open]:
    yield from models(built)


def taken(model: SlotLanguageModel) -> int:
    """Pages, but for the first of each head: a batch of an odd number fills up with an idle slot,
    whose first position is written."""
    session = model._session
    assert isinstance(session, OnnxSlots)
    of_head = session.slot_length * session._cache[0][0].shape[-1] * 4 // mmap.PAGESIZE
    found = [pages(memory.array).reshape(-1, of_head)[:, 1:] for memory in session._memory]
    return int(np.sum(found))


def test_streams_that_ended_take_nothing(open_model: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """At their end, cancelled while they speak or are read, and broken there."""
    model = open_model(precision="fp32", slots=4)
    ends, left, broken, leaves = (request(seed, tokens=60) for seed in (25, 26, 27, 50))
    prefill, read_so_far = OnnxSlots.prefill, []

    def read(session, slot, embeds, start):
        logits = prefill(session, slot, embeds, start)
        read_so_far.append(taken(model))
        given = model._joining.request
        if given is broken and start:
            raise RuntimeError("out of luck")
        if given is leaves and start:
            model._joining.cancel()
        return logits

    monkeypatch.setattr(OnnxSlots, "prefill", read)
    for given in ([ends, left, ends, ends, ends], [broken], [leaves]):
        streams = [model.submit(one) for one in given]
        for one, stream in zip(given, streams, strict=True):
            if one is left:
                next(iter(stream))
            elif one is ends:
                assert len(tokens_of(stream)) == 60
            elif one is broken:
                with pytest.raises(StageFailed, match="luck"):
                    tokens_of(stream)
        wait_until(lambda: not model._occupied() and not model._queue)
        wait_until(lambda: not taken(model))
    assert max(read_so_far) > 0
