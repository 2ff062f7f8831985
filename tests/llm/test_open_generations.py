"""Generations whose text is still being written, on slots beside others."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from llm_model import GREEDY, Built, Gate, Open, build_tiny, models, request, tokens_of
from waiting import wait_until

from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.contract import (
    GenerationRequest,
    MoreText,
    OpenText,
    Prompt,
    Rereads,
    SamplingParams,
    Turns,
)
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.torch.opening import open_torch

TURNS = Turns(5, 15, 6847, 6849)
NONE = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32", "int8")


@pytest.fixture
def open_model(built: Built) -> Iterator[Open]:
    yield from models(built)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def text(seed: int, count: int = 17) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 264, count).astype(np.int32)


def asked(
    ids: np.ndarray,
    *,
    ended: bool = False,
    sampling: SamplingParams = GREEDY,
    way: Turns | Rereads = TURNS,
    most: int = 70,
) -> GenerationRequest:
    prompt = Prompt(np.array([6848], np.int32))
    return GenerationRequest(prompt, 60, most, sampling, OpenText(way, ids, NONE, ended))


def more(ids: np.ndarray, *, ended: bool = False) -> MoreText:
    return MoreText(ids, ended, min_tokens=60, max_tokens=70)


@pytest.mark.parametrize("sampling", [GREEDY, SamplingParams(seed=4)], ids=["greedy", "seeded"])
def test_the_same_text_in_pieces_gives_the_same_speech(
    open_model: Open, sampling: SamplingParams
) -> None:
    model, ids = open_model(slots=2), text(1)
    whole = tokens_of(model.submit(asked(ids, ended=True, sampling=sampling)))
    generation = model.submit(asked(ids[:3], sampling=sampling))
    for one in ids[3:]:
        generation.extend(more(np.array([one], np.int32)))
    generation.extend(more(NONE, ended=True))
    assert tokens_of(generation) == whole and len(whole) >= 60


def torch_model(built: Built, slots: int) -> SlotLanguageModel:
    return open_torch(*built, device="cpu", dtype="fp32", slots=slots, max_tokens=256)


@pytest.mark.parametrize("kind", ["fp32", "int8", "torch"])
def test_streams_that_wait_change_nothing_for_the_others(
    built: Built, open_model: Open, kind: str
) -> None:
    """Four streams: two wait for text, one of them between the others, and go on later."""
    if kind == "torch":
        with closing(torch_model(built, 1)) as alone, closing(torch_model(built, 4)) as model:
            check_four(alone, model)
    else:
        check_four(open_model(slots=1, precision=kind), open_model(slots=4, precision=kind))


def check_four(alone: SlotLanguageModel, model: SlotLanguageModel) -> None:
    texts = [text(seed) for seed in (1, 2)]
    plain = [request(3, tokens=90), request(4, tokens=50)]
    expected = [tokens_of(alone.submit(asked(ids, ended=True))) for ids in texts]
    expected += [tokens_of(alone.submit(one)) for one in plain]
    first, third, second, fourth = (
        model.submit(asked(texts[0][:6])),
        model.submit(plain[0]),
        model.submit(asked(texts[1][:11])),
        model.submit(plain[1]),
    )
    wait_until(lambda: len(model._places.waiting) == 2)
    assert tokens_of(fourth) == expected[3]
    second.extend(more(texts[1][11:], ended=True))
    first.extend(more(texts[0][6:], ended=True))
    assert [tokens_of(g) for g in (first, second, third)] == expected[:3]
    wait_until(lambda: model._occupied() == 0)


def test_a_stream_that_waits_takes_no_part_in_steps(open_model: Open, gate: Gate) -> None:
    model = open_model(slots=3)
    waiting = model.submit(asked(text(1)[:5]))
    gate.open()
    wait_until(lambda: len(model._places.waiting) == 1)
    before = len(gate.batches)
    assert len(tokens_of(model.submit(request(2, tokens=6)))) == 6
    assert set(gate.batches[before:]) == {1}
    waiting.cancel()
    wait_until(lambda: model._occupied() == 0)


def test_leaving_while_it_waits_frees_the_slot(open_model: Open) -> None:
    model = open_model(slots=2)
    kept, left = model.submit(asked(text(1)[:5])), model.submit(asked(text(2)[:5]))
    wait_until(lambda: len(model._places.waiting) == 2)
    queued = model.submit(request(2, tokens=6))
    left.cancel()
    assert len(tokens_of(queued)) == 6
    kept.extend(more(text(1)[5:], ended=True))
    alone = tokens_of(open_model(slots=1).submit(asked(text(1), ended=True)))
    assert tokens_of(kept) == alone


def test_who_waits_for_text_is_told_that_nothing_comes(open_model: Open) -> None:
    generation = open_model(slots=1).submit(asked(text(1)[:3]))
    assert len(next(iter(generation))) == 0
    with pytest.raises(InvalidRequest, match="id 7000 is outside"):
        generation.extend(more(np.array([7000], np.int32)))


def test_a_text_that_fills_the_slot_ends_with_an_error(open_model: Open) -> None:
    model = open_model(slots=1, max_tokens=40)
    generation = model.submit(asked(text(1)[:5]))
    generation.extend(more(text(1, 30), ended=True))
    with pytest.raises(StageFailed, match="within the 40 positions of a slot"):
        tokens_of(generation)
    assert len(tokens_of(model.submit(request(1, tokens=5)))) == 5


def test_the_most_tokens_are_those_of_the_text_so_far(open_model: Open) -> None:
    generation = open_model(slots=1).submit(asked(text(1)[:5], most=16))
    generation.extend(more(text(1)[5:], ended=True))
    assert len(tokens_of(generation)) > 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ids": NONE, "ended": True}, "has ended without any id"),
        ({"way": Turns(0, 15, 6847, 6849)}, r"cannot be read by Turns\(text=0, speech=15"),
        ({"way": Turns(5, 15, 3, 6849)}, "cannot be read by Turns"),
        ({"way": Rereads(2, 8, 6849)}, "read anew by a model that tells nothing"),
        ({"ids": np.full(5, 9000, np.int32)}, "id 9000 is outside"),
        ({"ids": np.ones(256, np.int32)}, "leave no room to speak in 256 positions"),
    ],
)
def test_wrong_requests_are_refused(open_model: Open, wrong: dict, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        open_model(slots=1).submit(asked(**{"ids": text(1), **wrong}))


def test_a_whole_text_takes_no_more(open_model: Open) -> None:
    generation = open_model(slots=1).submit(request(1, tokens=5))
    with pytest.raises(InvalidRequest, match="is whole"):
        generation.extend(more(text(1)))
    assert len(tokens_of(generation)) == 5
