"""Recording and replaying, as far as a machine without a GPU can: see `fake_cuda_graphs`."""

import threading
from collections.abc import Callable, Iterator

import fake_cuda_graphs
import pytest
import torch
from fake_cuda_graphs import GPU, CaptureRefused, Gpu
from waiting import HANG_S

from tritone.compute import GraphCache, torch_device


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return fake_cuda_graphs.plug_in(monkeypatch)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """That torch sees, with its settings as they are at first."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    yield
    cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_gpu_has_its_index(two_gpus: None, name: str, index: int) -> None:
    """A tensor's device has one, and a plan compares it with its own."""
    assert torch_device(name) == torch.device("cuda", index)


def test_float32_keeps_its_bits_on_a_gpu(two_gpus: None) -> None:
    """torch lets cuDNN drop 13 of them: of the pitch, which is heard."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    torch_device("cpu")
    assert cudnn.allow_tf32
    torch_device("cuda")
    assert not cudnn.allow_tf32 and not matmul.allow_tf32


def counter() -> tuple[torch.Tensor, Callable[[], torch.Tensor]]:
    """A buffer, and a function that counts it up and returns its double."""
    buffer = torch.zeros(2)
    return buffer, lambda: buffer.add_(1) * 2


def test_what_is_recorded_is_replayed_on_its_buffers(gpu: Gpu) -> None:
    graphs: GraphCache[torch.Tensor] = GraphCache(GPU)
    buffer, count = counter()
    graphs.record("count", count)
    for start in (0.0, 40.0):
        buffer[:] = start
        assert graphs("count", count).tolist() == [2 * start + 2] * 2
        assert buffer.tolist() == [start + 1] * 2


def test_what_was_not_recorded_is_called_once(gpu: Gpu) -> None:
    """It may not be idempotent, and a capture would stop every stream."""
    gpu.allowed = False
    buffer, count = counter()
    assert GraphCache(GPU)("count", count).tolist() == [2, 2]
    assert buffer.tolist() == [1, 1]


def test_a_value_that_leaves_the_device_is_not_captured(gpu: Gpu) -> None:
    buffer = torch.ones(1)
    with pytest.raises(CaptureRefused, match="_local_scalar_dense"):
        GraphCache(GPU).record("leaves", lambda: buffer * buffer.item())


def test_captures_of_several_threads_take_turns(gpu: Gpu) -> None:
    """Each recording waits, inside, until the other is at least about to begin."""
    begun = threading.Barrier(2)
    failed: list[BaseException] = []

    def record(index: int) -> None:
        def slow() -> torch.Tensor:
            threading.Event().wait(0.02)
            return torch.zeros(1) + index

        begun.wait(HANG_S)
        try:
            GraphCache(GPU).record(index, slow)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=record, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(gpu.graphs) == 2


def test_every_thread_is_on_the_device_of_its_graphs(gpu: Gpu) -> None:
    second = torch.device("cuda", 1)
    graphs: GraphCache[torch.Tensor] = GraphCache(second)
    _, count = counter()
    graphs.record("count", count)
    thread = threading.Thread(target=graphs, args=("count", count))
    thread.start()
    thread.join()
    assert {device for _, device in gpu.devices} == {second}
    assert len({thread for thread, _ in gpu.devices}) == 2
