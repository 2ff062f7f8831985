"""Where a kernel may not read, there is no memory: a process of its own dies of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from native_kernels import NAMES, native
from paths import PROJECT, SUPPORT
from waiting import HANG_S

# Every input ends where a page begins that nobody may touch, or begins where such a page ends.
PROGRAM = """
import ctypes, mmap, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from native_kernels import drawn, dtype_of, native
from tritone.acoustic.cache import Span

libc, page, kept = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, []

def fenced(x, at_end):
    size = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for closed in (start, start + page + size):
        assert libc.mprotect(ctypes.c_void_p(closed), page, 0) == 0
    offset = page + (size - x.nbytes if at_end else 0)
    inner = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=offset)
    inner = inner.view(x.shape)
    inner.copy_(x)
    return inner

name = sys.argv[2]
attention, dtype = native(name, Path(sys.argv[3])), dtype_of(name)
for at_end in (True, False):
    for frames, width in ((1, 32), (15, 64), (17, 96), (255, 32), (257, 64), (300, 128)):
        for queries in (1, 5, 33, 51, 65):
            query, key, value = (
                fenced(drawn((1, 2, n, width), n, dtype), at_end) for n in (queries, frames, frames)
            )
            assert not attention(query, [Span(key, value)]).isnan().any()
print("done")
"""


def run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    native(name, folder)  # skips
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SUPPORT), name, str(folder)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_beyond_an_input(name: str, kernels_folder: Path) -> None:
    done = run(name, kernels_folder)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
