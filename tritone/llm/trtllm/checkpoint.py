"""A Qwen2 in Hugging Face form -> TensorRT-LLM 0.20 checkpoint: config.json, rankN.safetensors."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Part, TensorSpec, to_float32, write_tensors
from tritone.config import CONFIG_NAME
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.llm.checkpoint import write_json
from tritone.llm.trtllm.checkpoint_config import (
    STORAGE,
    CheckpointOptions,
    checkpoint_config,
    to_dtype,
)
from tritone.llm.trtllm.sharding import Block, RankTensor, check_tp_size, rank_tensors
from tritone.llm.trtllm.source_checkpoint import SourceLLM

_BLOCK_VALUES = 4 << 20  # converted at a time: 16 MiB in float32
_HEADER_BYTES = 1 << 20  # more than the header of any rank file

Progress = Callable[[int], object]


def _unheard(nbytes: int) -> None:
    """Progress that nobody asks for."""


class Conversion:
    """One checkpoint to write.

    Raises InvalidRequest for a tp_size that does not fit the model, EnvironmentProblem for too
    little disk, ModelDirectoryError for an output directory that holds something else.
    """

    def __init__(self, source: SourceLLM, output_dir: Path, options: CheckpointOptions) -> None:
        check_tp_size(source.config, options.tp_size)
        self._source, self._output_dir, self._options = source, output_dir, options
        self._ranks = [
            rank_tensors(source.config, source.head, options.tp_size, rank)
            for rank in range(options.tp_size)
        ]
        self._stale = _files_to_replace(output_dir)
        self._check_disk()

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors to write."""
        return sum(spec.nbytes for rank in self._ranks for spec in self._specs(rank))

    def run(self, workers: int = 1, progress: Progress = _unheard) -> list[Path]:
        """Write the checkpoint, config.json last, and return its files.

        workers: processes, one rank each at most. progress is told the bytes as they are written.
        """
        self._output_dir.mkdir(parents=True, exist_ok=True)
        for path in self._stale:
            path.unlink()
        ranks = range(len(self._ranks))
        if min(workers, len(ranks)) > 1:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(ranks)), context) as pool:
                for _ in pool.map(self._write_rank, ranks):
                    progress(self.nbytes // len(ranks))
        else:
            for rank in ranks:
                self._write_rank(rank, progress)
        config = self._output_dir / CONFIG_NAME
        write_json(config, checkpoint_config(self._source.config, self._source.tied, self._options))
        return [config, *map(self._rank_path, ranks)]

    def _write_rank(self, rank: int, progress: Progress = _unheard) -> None:
        tensors = self._ranks[rank]
        parts = (self._parts(tensor, progress) for tensor in tensors)
        write_tensors(self._rank_path(rank), self._specs(tensors), parts)

    def _parts(self, tensor: RankTensor, progress: Progress) -> Iterator[Part]:
        """The values of one tensor of a rank, a bounded number of rows at a time."""
        dtype = self._options.dtype
        for block in tensor.blocks:
            for values in _row_groups(self._source.weights.stored(block.source), block):
                part = to_dtype(values, dtype, block.source)
                yield part
                progress(part.nbytes)
        row = TensorSpec("", STORAGE[dtype], tensor.shape[1:])
        yield tensor.padding_rows * row.nbytes
        progress(tensor.padding_rows * row.nbytes)

    def _specs(self, tensors: list[RankTensor]) -> list[TensorSpec]:
        storage = STORAGE[self._options.dtype]
        return [TensorSpec(tensor.name, storage, tensor.shape) for tensor in tensors]

    def _rank_path(self, rank: int) -> Path:
        return self._output_dir / f"rank{rank}.safetensors"

    def _check_disk(self) -> None:
        there = next(p for p in (self._output_dir, *self._output_dir.parents) if p.is_dir())
        free = shutil.disk_usage(there).free + sum(path.stat().st_size for path in self._stale)
        needed = self.nbytes + _HEADER_BYTES * len(self._ranks)
        if free < needed:
            raise EnvironmentProblem(
                f"{self._output_dir} needs {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free: "
                "make room, or write elsewhere with --output_dir"
            )


def _files_to_replace(output_dir: Path) -> list[Path]:
    """What an earlier conversion left in `output_dir`; anything else there is refused."""
    if not output_dir.exists():
        return []
    if not output_dir.is_dir():
        raise ModelDirectoryError(f"{output_dir} is a file; give a directory to --output_dir")
    files = sorted(output_dir.iterdir())
    foreign = [p.name for p in files if p.name != CONFIG_NAME and not p.match("rank*.safetensors*")]
    if foreign:
        raise ModelDirectoryError(
            f"{output_dir} holds {', '.join(foreign[:3])}: give an empty or new directory to "
            "--output_dir"
        )
    return files


def _row_groups(stored: NDArray[Any], block: Block) -> Iterator[Float32]:
    width = 1
    if block.columns is not None:
        stored = stored[:, block.columns.start : block.columns.stop]
        width = len(block.columns)
    step = max(1, _BLOCK_VALUES // width)
    for start in range(block.rows.start, block.rows.stop, step):
        yield to_float32(stored[start : min(start + step, block.rows.stop)])
