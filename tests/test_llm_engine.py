import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from llm_model import build_tiny

from tritone.config import ModelConfig
from tritone.errors import Cancelled, InvalidRequest, Overloaded, StageFailed
from tritone.llm.engine import OnnxLanguageModel
from tritone.llm.generation import OnnxGeneration
from tritone.llm.slots import SlotSession
from tritone.types import GenerationRequest, SamplingParams

GREEDY = SamplingParams(top_k=1)
Open = Callable[..., OnnxLanguageModel]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelConfig]:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32", "int8")


@pytest.fixture
def open_model(built: tuple[Path, ModelConfig]) -> Iterator[Open]:
    opened: list[OnnxLanguageModel] = []

    def open_one(**options) -> OnnxLanguageModel:
        model = OnnxLanguageModel(*built, **{"max_tokens": 256, **options})
        opened.append(model)
        return model

    yield open_one
    for model in opened:
        model.close()


class Gate:
    """Lets the engine take one step at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._permits = threading.Semaphore(0)
        self._reached = threading.Semaphore(0)
        self.batches: list[int] = []
        decode = SlotSession.decode

        def gated(session, embeds, lengths):
            self._reached.release()
            assert self._permits.acquire(timeout=20)
            self.batches.append(len(embeds))
            return decode(session, embeds, lengths)

        monkeypatch.setattr(SlotSession, "decode", gated)

    def wait(self) -> None:
        """Until the engine stands before its next step."""
        assert self._reached.acquire(timeout=20)

    def step(self) -> None:
        """Let the step go that `wait` saw, and wait for the next."""
        self._permits.release()
        self.wait()

    def open(self) -> None:
        self._permits.release(10_000)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, open_model: Open) -> Iterator[Gate]:
    gate = Gate(monkeypatch)  # asks for open_model so that it opens before the engine closes
    yield gate
    gate.open()


def request(
    seed: int = 0,
    *,
    tokens: int = 20,
    sampling: SamplingParams = GREEDY,
    minimum: int | None = None,
) -> GenerationRequest:
    rng = np.random.default_rng(seed)
    text = rng.integers(0, 264, 5 + 3 * seed)
    ids = np.concatenate([[6848], text, [6849]]).astype(np.int32)
    return GenerationRequest(ids, tokens if minimum is None else minimum, tokens, sampling)


def tokens_of(generation: OnnxGeneration) -> list[int]:
    return [int(token) for ids in generation for token in ids]


def test_increments_are_llm_ids(open_model: Open) -> None:
    generation = open_model(precision="fp32").submit(request(tokens=30))
    increments = list(generation)
    assert all(ids.dtype == np.int32 and ids.ndim == 1 and len(ids) for ids in increments)
    tokens = np.concatenate(increments)
    assert len(tokens) <= 30
    assert tokens.min() >= 284
    assert tokens.max() < 6845
    assert list(generation) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
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
    assert model.stats().tokens == sum(map(len, alone))


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
    assert 2 * 64 < len(long.input_ids) < 3 * 64
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
    assert model.stats().kv_used_bytes == (11 + 64) * (2 * 2 * 2 * 16 * 4)
    long.cancel()
    gate.step()
    assert model.stats().active == 1
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
    assert model.stats().active == 2
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
            reading.result(timeout=20)


def test_queue_is_bounded(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=1, max_waiting=2)
    running = model.submit(request(1, tokens=4))
    gate.wait()
    waiting = [model.submit(request(seed, tokens=4)) for seed in (2, 3)]
    assert (model.stats().active, model.stats().waiting) == (1, 2)
    with pytest.raises(Overloaded, match=r"limits: 1 and 2"):
        model.submit(request(4))
    waiting[0].cancel()
    assert model.stats().waiting == 1
    late = model.submit(request(4, tokens=4))
    gate.open()
    assert [len(tokens_of(g)) for g in (running, waiting[1], late)] == [4, 4, 4]
    with pytest.raises(Cancelled):
        tokens_of(waiting[0])


def test_a_broken_prefill_harms_nobody_else(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefill = SlotSession.prefill

    def broken(session, slot, embeds, start):
        if len(embeds) == len(request(2).input_ids):
            raise RuntimeError("out of luck")
        return prefill(session, slot, embeds, start)

    monkeypatch.setattr(SlotSession, "prefill", broken)
    model = open_model()
    first, second, third = (model.submit(request(seed)) for seed in (1, 2, 3))
    with pytest.raises(StageFailed, match="llm: out of luck"):
        tokens_of(second)
    assert len(tokens_of(first)) == len(tokens_of(third)) == 20
    assert model.stats().free_slots == 8


def test_a_broken_step_ends_its_streams_and_the_engine_goes_on(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model()
    expected = tokens_of(model.submit(request(1)))
    decode, fail = SlotSession.decode, threading.Event()

    def broken(session, embeds, lengths):
        if not fail.is_set():
            fail.set()
            raise RuntimeError("step lost")
        return decode(session, embeds, lengths)

    monkeypatch.setattr(SlotSession, "decode", broken)
    with pytest.raises(StageFailed, match="llm: step lost"):
        tokens_of(model.submit(request(2)))
    assert tokens_of(model.submit(request(1))) == expected


def test_logits_that_are_no_numbers_end_one_stream(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = SlotSession.decode

    def broken(session, embeds, lengths):
        logits = decode(session, embeds, lengths)
        logits[lengths < 10] = np.nan
        return logits

    monkeypatch.setattr(SlotSession, "decode", broken)
    model = open_model()
    short, long = model.submit(request(0)), model.submit(request(5))
    with pytest.raises(StageFailed, match="largest logit is nan"):
        tokens_of(short)
    assert len(tokens_of(long)) == 20


@pytest.mark.parametrize("stop", [6561, 6562, 6563])
def test_stop_ids_end_the_stream_and_are_not_passed_on(
    open_model: Open, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    decode = SlotSession.decode

    def stopping(session, embeds, lengths):
        logits = decode(session, embeds, lengths)
        logits[:, stop] = 1e4
        return logits

    monkeypatch.setattr(SlotSession, "decode", stopping)
    model = open_model()
    assert len(tokens_of(model.submit(request(1, minimum=0)))) == 1
    banned = tokens_of(model.submit(request(1, minimum=7)))
    assert len(banned) == (7 if stop == 6561 else 1)  # only the regular end has a minimum


def test_a_full_slot_is_an_error_not_a_silent_end(open_model: Open) -> None:
    prompt = request(1)
    model = open_model(max_tokens=len(prompt.input_ids) + 4)
    received: list[int] = []
    with pytest.raises(StageFailed, match="within the 14 positions"):
        for ids in model.submit(prompt):
            received.extend(ids)
    assert len(received) == 5
    assert len(tokens_of(model.submit(request(1, tokens=5)))) == 5


@pytest.mark.parametrize(
    ("ids", "limits", "message"),
    [
        ([], (0, 5), "input_ids: shape"),
        ([[1, 2]], (0, 5), "input_ids: shape"),
        ([1, 6850], (0, 5), r"input_ids: id 6850 is outside 0\.\.6849"),
        ([-1, 1], (0, 5), "input_ids: id -1"),
        ([1] * 256, (0, 5), "input_ids: 256 ids leave no room"),
        ([1], (0, 0), "max_tokens: 0"),
        ([1], (-1, 5), "min_tokens: -1"),
    ],
)
def test_wrong_requests_are_refused(open_model: Open, ids, limits, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        open_model().submit(GenerationRequest(np.array(ids, np.int32), *limits))
    with pytest.raises(InvalidRequest, match="temperature"):
        open_model().submit(request(sampling=SamplingParams(temperature=-1.0)))


def test_close_ends_what_is_open(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=1)
    generations = [model.submit(request(seed)) for seed in (1, 2)]
    gate.wait()
    with ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(tokens_of, generation) for generation in generations]
        closing = pool.submit(model.close)
        gate.open()
        closing.result(timeout=20)
        for result in reading:
            with pytest.raises(StageFailed, match="closed"):
                result.result(timeout=20)
    with pytest.raises(StageFailed, match="closed"):
        model.submit(request(1))
    model.close()


def test_stats_count_live_positions(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=2, max_tokens=64)
    assert model.stats().kv_bytes == 2 * 2 * 2 * 2 * 64 * 16 * 4
    generation = model.submit(request(1))
    gate.wait()
    stats = model.stats()
    assert (stats.active, stats.waiting, stats.free_slots, stats.tokens) == (1, 0, 1, 1)
    assert stats.kv_used_bytes == 10 * (2 * 2 * 2 * 16 * 4)
    generation.cancel()
