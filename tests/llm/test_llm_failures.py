import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from llm_model import Built, Gate, Open, build_tiny, models, request, tokens_of
from waiting import HANG_S, wait_until

from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.contract import GenerationRequest, Prompt, SamplingParams
from tritone.llm.onnx.slots import OnnxSlots


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32", "int8")


@pytest.fixture
def open_model(built: Built) -> Iterator[Open]:
    yield from models(built)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, open_model: Open) -> Iterator[Gate]:
    gate = Gate(monkeypatch)  # asks for open_model so that it opens before the model closes
    yield gate
    gate.open()


def test_a_broken_prefill_harms_nobody_else(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefill = OnnxSlots.prefill

    def broken(session, slot, embeds, start):
        if len(embeds) == len(request(2).prompt.ids):
            raise RuntimeError("out of luck")
        return prefill(session, slot, embeds, start)

    monkeypatch.setattr(OnnxSlots, "prefill", broken)
    model = open_model()
    first, second, third = (model.submit(request(seed)) for seed in (1, 2, 3))
    with pytest.raises(StageFailed, match="llm: out of luck"):
        tokens_of(second)
    assert len(tokens_of(first)) == len(tokens_of(third)) == 20
    wait_until(lambda: model._occupied() == 0)


def test_a_broken_step_ends_its_streams_and_the_engine_goes_on(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model()
    expected = tokens_of(model.submit(request(1)))
    decode, fail = OnnxSlots.decode, threading.Event()

    def broken(session, embeds, lengths, beyond=0):
        if not fail.is_set():
            fail.set()
            raise RuntimeError("step lost")
        return decode(session, embeds, lengths, beyond)

    monkeypatch.setattr(OnnxSlots, "decode", broken)
    with pytest.raises(StageFailed, match="llm: step lost"):
        tokens_of(model.submit(request(2)))
    assert tokens_of(model.submit(request(1))) == expected


def test_logits_that_are_no_numbers_end_one_stream(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = OnnxSlots.decode

    def broken(session, embeds, lengths, beyond=0):
        logits = decode(session, embeds, lengths, beyond)
        logits[lengths < 10] = np.nan
        return logits

    monkeypatch.setattr(OnnxSlots, "decode", broken)
    model = open_model()
    short, long = model.submit(request(0)), model.submit(request(5))
    with pytest.raises(StageFailed, match="largest logit is nan"):
        tokens_of(short)
    assert len(tokens_of(long)) == 20


@pytest.mark.parametrize("stop", [6561, 6562, 6563])
def test_stop_ids_end_the_stream_and_are_not_passed_on(
    open_model: Open, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    decode = OnnxSlots.decode

    def stopping(session, embeds, lengths, beyond=0):
        logits = decode(session, embeds, lengths, beyond)
        logits[:, stop] = 1e4
        return logits

    monkeypatch.setattr(OnnxSlots, "decode", stopping)
    model = open_model()
    assert len(tokens_of(model.submit(request(1, minimum=0)))) == 1
    banned = tokens_of(model.submit(request(1, minimum=7)))
    assert len(banned) == (7 if stop == 6561 else 1)  # only the regular end has a minimum


def test_a_full_slot_is_an_error_not_a_silent_end(open_model: Open) -> None:
    prompt = request(1)
    model = open_model(max_tokens=len(prompt.prompt.ids) + 4)
    received: list[int] = []
    with pytest.raises(StageFailed, match="within the 14 positions"):
        for increment in model.submit(prompt):
            received.extend(increment.ids)
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
        open_model().submit(GenerationRequest(Prompt(ids=np.array(ids, np.int32)), *limits))
    with pytest.raises(InvalidRequest, match="temperature"):
        open_model().submit(request(sampling=SamplingParams(temperature=-1.0)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 32)), r"shape \(0, 32\), expected \(n, 32\)"),
        (np.zeros((3, 31)), r"shape \(3, 31\)"),
        (np.zeros(32), r"shape \(32,\)"),
        (np.zeros((256, 32)), "256 rows leave no room"),
        (np.diag([0, 0, np.nan] + 29 * [0]), "row 2 has values that are NaN or infinite"),
    ],
)
def test_wrong_embeddings_are_refused(open_model: Open, rows: np.ndarray, message: str) -> None:
    prompt = Prompt(embeddings=rows.astype(np.float32))
    with pytest.raises(InvalidRequest, match=f"^prompt_embeddings: {message}"):
        open_model().submit(GenerationRequest(prompt, 0, 5))


def test_close_ends_what_is_open(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=1)
    generations = [model.submit(request(seed)) for seed in (1, 2)]
    gate.wait()
    with ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(tokens_of, generation) for generation in generations]
        closing = pool.submit(model.close)
        gate.open()
        closing.result(timeout=HANG_S)
        for result in reading:
            with pytest.raises(StageFailed, match="closed"):
                result.result(timeout=HANG_S)
    with pytest.raises(StageFailed, match="closed"):
        model.submit(request(1))
    model.close()
