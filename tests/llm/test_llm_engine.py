from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from llm_model import GREEDY, Built, Gate, Open, build_tiny, models, request, tokens_of
from waiting import HANG_S

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import Cancelled, Overloaded
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import Prompt, SamplingParams


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32", "int8", "int8_rows")


@pytest.fixture
def open_model(built: Built) -> Iterator[Open]:
    yield from models(built)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, open_model: Open) -> Iterator[Gate]:
    gate = Gate(monkeypatch)  # asks for open_model so that it opens before the model closes
    yield gate
    gate.open()


def test_increments_are_llm_ids(open_model: Open) -> None:
    generation = open_model(precision="fp32").submit(request(tokens=30))
    increments = list(generation)
    parts = [increment.ids for increment in increments]
    assert all(ids.dtype == np.int32 and ids.ndim == 1 and len(ids) for ids in parts)
    tokens = np.concatenate(parts)
    assert len(tokens) <= 30
    assert tokens.min() >= 284
    assert tokens.max() < 6845
    assert list(generation) == []


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8_rows"])
def test_company_changes_nothing(open_model: Open, precision: str) -> None:
    sampled = [SamplingParams(seed=seed) for seed in range(4)]
    requests = [
        request(seed, tokens=6 + 5 * seed, sampling=GREEDY if seed % 2 else sampled[seed // 2])
        for seed in range(7)
    ]
    single = open_model(precision=precision, slots=1)
    alone = [tokens_of(single.submit(one)) for one in requests]
    model = open_model(precision=precision, slots=3)
    generations = [model.submit(one) for one in requests]
    with ThreadPoolExecutor(7) as pool:
        together = list(pool.map(tokens_of, generations))
    assert together == alone


@pytest.mark.parametrize("seed", [1, 50])
def test_a_prompt_of_embeddings_speaks_as_its_ids_do(
    built: Built, open_model: Open, seed: int
) -> None:
    """Also one that is read in several parts; rows that may not be written are copied."""
    given = request(seed)
    table = EmbeddingTable(Checkpoint(built[0] / LLM_DIR / WEIGHTS_NAME))
    rows = table(given.prompt.ids)
    rows.setflags(write=False)
    model = open_model(precision="fp32")
    embedded = replace(given, prompt=Prompt(embeddings=rows))
    assert tokens_of(model.submit(embedded)) == tokens_of(model.submit(given))


def test_streams_join_and_leave_between_steps(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=3)
    first = model.submit(request(1, tokens=9))
    gate.wait()
    second = model.submit(request(2, tokens=3))
    gate.step()
    third = model.submit(request(3, tokens=5))
    gate.open()
    assert [len(tokens_of(g)) for g in (first, second, third)] == [9, 3, 5]
    assert gate.batches == [1, 2, 3, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_long_prompt_is_read_between_steps(open_model: Open, gate: Gate, precision: str) -> None:
    model = open_model(slots=4, precision=precision)
    early = [model.submit(request(1, tokens=4)), model.submit(request(2, tokens=9))]
    gate.wait()
    long = request(50, tokens=8)
    assert 2 * 64 < len(long.prompt.ids) < 3 * 64
    generation = model.submit(long)
    gate.open()
    together = [tokens_of(g) for g in (*early, generation)]
    # the long prompt begins before step three and takes three parts; meanwhile the first stream
    # leaves, so that the slot before the long one's is empty when it joins
    assert gate.batches[:5] == [1, 2, 2, 1, 2]
    single = open_model(slots=1, precision=precision)
    requests = [request(1, tokens=4), request(2, tokens=9), long]
    assert together == [tokens_of(single.submit(one)) for one in requests]


def test_a_long_prompt_can_be_cancelled_between_its_parts(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=2)
    running = model.submit(request(1, tokens=6))
    gate.wait()
    long = model.submit(request(50))
    gate.step()
    assert (model._places.drawing[0].length, model._joining.length) == (11, 64)
    long.cancel()
    gate.step()
    assert model._occupied() == 1
    gate.open()
    assert len(tokens_of(running)) == 6


def test_seed_repeats_a_generation(open_model: Open) -> None:
    model = open_model()

    def run(seed: int | None) -> list[int]:
        return tokens_of(model.submit(request(sampling=SamplingParams(seed=seed))))

    assert run(3) == run(3)
    assert run(3) != run(4)


@pytest.mark.parametrize("way", ["cancel", "break", "drop"])
def test_leaving_frees_the_slot_before_the_next_step(
    open_model: Open, gate: Gate, way: str
) -> None:
    model = open_model(slots=2)
    leaving, staying = model.submit(request(1)), model.submit(request(2))
    gate.wait()
    gate.step()
    assert model._occupied() == 2
    if way == "cancel":
        leaving.cancel()
        with pytest.raises(Cancelled):
            next(iter(leaving))
    elif way == "break":
        for _ in leaving:
            break
    del leaving
    gate.step()  # this one was already on its way
    gate.open()
    expected = tokens_of(open_model(slots=1).submit(request(2)))
    assert tokens_of(staying) == expected
    assert gate.batches[:3] == [1, 2, 1]


def test_cancel_wakes_the_reader(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=1)
    generation = model.submit(request(2))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tokens_of, generation)
        gate.wait()
        generation.cancel()
        with pytest.raises(Cancelled):
            reading.result(timeout=HANG_S)


def test_queue_is_bounded(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=1, max_waiting=2)
    running = model.submit(request(1, tokens=4))
    gate.wait()
    waiting = [model.submit(request(seed, tokens=4)) for seed in (2, 3)]
    assert (model._occupied(), len(model._queue)) == (1, 2)
    with pytest.raises(Overloaded, match=r"limits: 1 and 2"):
        model.submit(request(4))
    waiting[0].cancel()
    late = model.submit(request(4, tokens=4))
    gate.open()
    assert [len(tokens_of(g)) for g in (running, waiting[1], late)] == [4, 4, 4]
    with pytest.raises(Cancelled):
        tokens_of(waiting[0])
