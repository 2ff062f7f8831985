"""Text from an iterator, spoken in this process before its sentence has been written out."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paths import EMBEDDED
from waiting import HANG_S, Clock, wait_until

import tritone
from tritone import FLUSH, InvalidRequest, SamplingParams
from tritone.families.cosyvoice2.config import SPEECH_TURN, TEXT_TURN
from tritone.llm.contract import GenerationRequest, MoreText, OpenText, Prompt, Turns
from tritone.synthesis.live_text import LiveText, TextMode
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.values import SynthesisRequest, TextBlock

BEGUN = "The birch canoe slid on the smooth planks of the "
TEXT = f"{BEGUN}harbour, and Dr. Smith paid $3.50 for 2 of them"
GREEDY = SamplingParams(top_k=1)
MODE = {"text_mode": "interleaved", "sampling": SamplingParams(seed=1)}


@pytest.fixture(scope="module")
def tts() -> Iterator[tritone.TTS]:
    with tritone.load(EMBEDDED) as speaking:
        yield speaking


class Given:
    """What the language model is given of texts. open: how many began open."""

    def __init__(self, tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[int] = []
        self.open = 0
        llm, closing = tts._stages.llm, tts._stages.model.config.llm.task_id
        submit = llm.submit

        def submitted(request: GenerationRequest):
            generation, text = submit(request), request.open_text
            ids = request.prompt.ids[1:]
            if text is not None:
                ids = np.concatenate([ids, text.ids])
            self.ids += ids[: (np.flatnonzero(ids == closing).tolist() or [None])[0]].tolist()
            if text is not None:
                self.open += 1
                extend = generation.extend

                def extended(more: MoreText) -> None:
                    self.ids += more.ids.tolist()
                    extend(more)

                generation.extend = extended
            return generation

        monkeypatch.setattr(llm, "submit", submitted)


def by_turns(tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is read as by checkpoints that do not tell what they say."""
    rules = tts._stages.rules
    opened, closing = rules.opened, tts._stages.model.config.llm.task_id

    def in_turns(*arguments: Any, **options: Any) -> tuple[Prompt, OpenText]:
        prompt, text = opened(*arguments, **options)
        return prompt, replace(text, way=Turns(TEXT_TURN, SPEECH_TURN, rules.fill_id, closing))

    monkeypatch.setattr(rules, "opened", in_turns)


@pytest.mark.parametrize(("voice", "turns"), [("heart", False), ("joe", False), ("heart", True)])
def test_a_sentence_is_heard_while_it_is_written_and_all_of_it_is_read(
    tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch, voice: str, turns: bool
) -> None:
    if turns:
        by_turns(tts, monkeypatch)
    with monkeypatch.context() as patched:
        whole = Given(tts, patched)
        tts.synthesize(f"{TEXT}.", voice=voice)
    heard, given = threading.Event(), Given(tts, monkeypatch)

    def pieces() -> Iterator[str]:
        yield from BEGUN
        assert heard.wait(HANG_S), "nothing is heard before the rest is written"
        yield from TEXT.removeprefix(BEGUN)

    chunks = []
    for chunk in tts.stream(pieces(), voice=voice, **MODE):
        chunks.append(chunk)
        heard.set()
    assert given.open == 1 + chunks[-1].timing["retries"]
    if given.open == 1:
        assert given.ids == whole.ids
    (span,) = chunks[-1].timing["spans"]
    assert span["text"] == [0, len(TEXT)]
    assert span["samples"] == [0, sum(len(chunk.samples) for chunk in chunks)]


def test_the_pieces_of_a_text_do_not_matter(tts: tritone.TTS) -> None:
    llm, rules = tts._stages.llm, tts._stages.rules
    (segment,) = tts._stages.prepare(SynthesisRequest(f"{TEXT}.", voice="joe"))
    text, head = rules.text_ids(segment), segment.prompt
    least, most = rules.token_bounds(len(text))

    def spoken(*pieces: int) -> list[int]:
        prompt, whole = rules.opened(head, segment, ended=len(pieces) == 0)
        first = len(whole.ids) - sum(pieces)
        begun = replace(whole, ids=whole.ids[:first])
        generation = llm.submit(GenerationRequest(prompt, least, most, GREEDY, begun))
        for number, piece in enumerate(pieces, 1):
            ids, first = whole.ids[first : first + piece], first + piece
            generation.extend(MoreText(ids, number == len(pieces), least, most))
        return [token for increment in generation for token in increment.ids.tolist()]

    assert spoken() == spoken(*[1] * len(text)) == spoken(5, 0) != []


def test_a_whole_text_is_spoken_as_ever(tts: tritone.TTS) -> None:
    expected = tts.synthesize("Hello there.", sampling=SamplingParams(seed=1))
    assert np.array_equal(tts.synthesize("Hello there.", **MODE), expected)
    assert np.array_equal(tts.synthesize(["Hello there."], **MODE), expected), "is complete at once"


def test_words_that_are_not_sure_yet_are_not_lost(
    tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones may be read in another way once the next are known."""
    given, block, unsure = Given(tts, monkeypatch), type(tts._stages.frontend).block, [True] * 2

    def hesitant(frontend, request, index, voice):
        if request.settled is not None and unsure and unsure.pop():
            return TextBlock((), (), more=False)
        return block(frontend, request, index, voice)

    monkeypatch.setattr(type(tts._stages.frontend), "block", hesitant)

    def pieces() -> Iterator[str]:
        yield "The birch "
        wait_until(lambda: len(unsure) < 2)
        yield "canoe slid "
        wait_until(lambda: not unsure)
        yield TEXT.removeprefix("The birch canoe slid ")

    (*_, last) = tts.stream(pieces(), **MODE)
    with monkeypatch.context() as patched:
        whole = Given(tts, patched)
        tts.synthesize(f"{TEXT}.")
    assert given.ids[: len(whole.ids)] == whole.ids and last.timing["spans"][0]["text"][0] == 0


def test_lines_and_flushes_end_a_generation(
    tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Given(tts, monkeypatch)

    def waits_for(count: int) -> None:
        wait_until(lambda: given.open >= count)

    def pieces() -> Iterator[object]:
        yield "The first of several words "
        waits_for(1)
        yield "of a title\n\nThe second part of them "
        waits_for(2)
        yield "all"
        yield FLUSH
        yield " and then some more of it "
        waits_for(3)
        yield "is said."

    chunks = list(tts.stream(pieces(), **MODE))
    spans = [span["text"] for span in chunks[-1].timing["spans"]]
    whole = "The first of several words of a title\n\nThe second part of them all"
    assert [end for _, end in spans][-1] == len(f"{whole} and then some more of it is said.")
    assert [end for _, end in spans][:2] == [39, len(whole) + 1], "blanks belong to what is before"


def test_a_listener_who_leaves_while_it_waits(tts: tritone.TTS) -> None:
    left = threading.Event()

    def pieces() -> Iterator[str]:
        yield BEGUN
        assert left.wait(HANG_S)

    stream = tts.stream(pieces(), **MODE)
    assert len(next(stream).samples)
    stream.close()
    wait_until(lambda: tts._stages.llm._occupied() == 0)
    assert all(thread.name != "growing" for thread in threading.enumerate())
    left.set()


def test_a_writer_who_stalls_is_named(tts: tritone.TTS) -> None:
    clock = Clock()
    text = LiveText(1000, idle_s=30, mode=TextMode.INTERLEAVED, clock=clock)
    text.put(BEGUN)
    stages = tts._stages
    chunks = synthesize(SynthesisRequest(""), stages, stages.rules, Settings(), live=text)
    assert len(next(chunks).samples)
    clock.move(31)
    with pytest.raises(InvalidRequest, match="no piece came for 31 s; the limit is 30 s"):
        list(chunks)
    wait_until(lambda: stages.llm._occupied() == 0)


def test_an_error_of_the_writer_is_raised(tts: tritone.TTS) -> None:
    def pieces() -> Iterator[str]:
        yield BEGUN
        raise KeyError("x")

    with pytest.raises(KeyError):
        list(tts.stream(pieces(), **MODE))


@pytest.mark.parametrize(("mode", "refused"), [("interleaved", True), ("auto", False)])
def test_a_runtime_that_cannot_says_so_at_once(
    tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch, mode: str, refused: bool
) -> None:
    monkeypatch.setattr(tts._stages, "takes_open_text", False)
    stream = tts.stream(["Hello."], text_mode=mode)
    if refused:
        problem = "text_mode: is interleaved, and the runtime .* cannot add to a text; take sent"
        with pytest.raises(InvalidRequest, match=problem):
            list(stream)
    else:
        assert list(stream)[-1].last


def test_a_mode_that_does_not_exist_is_named(tts: tritone.TTS) -> None:
    with pytest.raises(InvalidRequest, match="is 'words'; take one of sentences, interleaved"):
        tts.stream(["Hello."], text_mode="words")
