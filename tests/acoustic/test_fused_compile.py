"""The fused kernels as a GPU gets them: compiled for it at full size, which needs none."""

import os
import subprocess
import sys
from pathlib import Path

import paths
import pytest

pytestmark = pytest.mark.slow


def test_all_kernels_compile(tmp_path: Path) -> None:
    """For Hopper, in bfloat16: the interpreter takes what a compiler refuses. Shared memory of
    48 KB is everywhere."""
    script = paths.PROJECT / "tests/support/compile_kernels.py"
    command = [sys.executable, str(script), "90"]
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = inherited | {"PYTHONPATH": str(paths.PROJECT), "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert not done.returncode, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, _, _ in kernels} == {
        "product.normed_projection",
        "product.added_product",
        "product.normed_product",
        "attention.paged_attention",
        "attention.turned_pages",
        "convolution.convolution",
        "convolution.normed_convolution",
        "rows.mish_sum",
        "rows.gated_norm",
        "rows.rms_norm",
        "rows.gated_silu",
        "attention.turned_heads",
        "attention.split_attention",
        "attention.joined_splits",
        "drawing.drawn_tokens",
    }
    for name, shared, spilled in kernels:
        assert int(shared) <= 48 << 10, name
        assert int(spilled) == 0, name
