"""Where the kernel may not read, there is no memory: a process of its own dies of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import PROJECT, SUPPORT
from waiting import HANG_S

# What the kernel is told of ends where a page begins that nobody may touch, or begins where such a
# page ends.
PROGRAM = """
import ctypes, mmap, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from llm_model import merge_tiny
from tritone.llm.native import decoder
from tritone.llm.native.slots import NativeSlots

libc, page, kept, at_end = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, [], True

def fenced(array):
    if array is None:
        return None
    size = max(1, -(-array.nbytes // page)) * page
    memory = mmap.mmap(-1, size + 2 * page)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for closed in (start, start + page + size):
        assert libc.mprotect(ctypes.c_void_p(closed), page, 0) == 0
    offset = page + (size - array.nbytes if at_end else 0)
    np.frombuffer(memory, array.dtype, array.size, offset)[:] = array.ravel()
    return start + offset

decoder._at = fenced
folder, length = Path(sys.argv[3]), 100
llm = merge_tiny(folder).model_copy(update={"text_heads": ((1, 2), (0, 0))})
for at_end in (True, False):
    slots = NativeSlots(folder, llm, Path(sys.argv[2]), slots=34, slot_length=length)
    draw = np.random.default_rng(0)
    for count in (1, 7, 8, 16, 17, 33):
        rows = draw.standard_normal((count, llm.hidden_size)).astype(np.float32)
        slots.prefill(33, rows, length - count)
        slots.decode(rows, np.full(count, length - 1, np.int32))
print("done")
"""


@pytest.mark.slow
def test_nothing_is_read_beyond_what_it_is_told_of(kernel: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SUPPORT), str(kernel), str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
