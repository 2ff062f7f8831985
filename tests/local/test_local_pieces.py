"""Text from an iterator, spoken in this process while it is being written."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from paths import EMBEDDED
from waiting import HANG_S, wait_until

import tritone
from tritone import FLUSH, InvalidRequest

TEXT = "Hello there, Dr. Smith. I paid 3.14 euros!\n\nIs it true?"


@pytest.fixture(scope="module")
def tts() -> Iterator[tritone.TTS]:
    with tritone.load(EMBEDDED) as speaking:
        yield speaking


def words(
    tts: tritone.TTS, monkeypatch: pytest.MonkeyPatch, text: object
) -> tuple[list[str], dict]:
    """What the language model is given, and the record."""
    given: list[str] = []
    block = type(tts._stages.frontend).block

    def noting(*arguments, **more):
        found = block(*arguments, **more)
        given.extend(piece.text for piece in found.pieces)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(type(tts._stages.frontend), "block", noting)
        *_, last = tts.stream(text)
    return " ".join(given).split(), last.timing


def test_the_words_are_those_of_the_whole_text(tts, monkeypatch) -> None:
    said, record = words(tts, monkeypatch, iter(TEXT))
    whole, other = words(tts, monkeypatch, TEXT)
    assert said == whole
    ends = [span["text"][1] for span in record["spans"]]
    assert [span["text"][0] for span in record["spans"]] == [0, *ends[:-1]]
    assert ends[-1] == len(TEXT) and set(ends) <= {23, 42, 44, len(TEXT)}
    assert _last_pause(record) == _last_pause(other), "that of a paragraph"


def _last_pause(record: dict) -> int:
    before, last = record["spans"][-2:]
    return last["samples"][0] - before["samples"][1]


def test_a_sentence_is_heard_before_the_next_one_is_written(tts) -> None:
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield "Hello there. And"
        assert heard.wait(HANG_S)
        yield " more."

    chunks = []
    for chunk in tts.stream(pieces()):
        chunks.append(chunk)
        heard.set()
    assert chunks[-1].last and all(len(chunk.samples) for chunk in chunks)
    assert chunks[-1].timing["underruns"] <= len(chunks)
    joined = np.concatenate([chunk.samples for chunk in chunks])
    assert len(joined) == chunks[-1].timing["spans"][-1]["samples"][1]


def test_the_end_may_be_known_late(tts) -> None:
    """The last packet has samples although the text ends after all of it was spoken."""
    heard = threading.Event()

    def pieces() -> Iterator[object]:
        yield "Hello there."
        yield FLUSH
        assert heard.wait(HANG_S)

    chunks = []
    for chunk in tts.stream(pieces()):
        chunks.append(chunk)
        if chunk.timing["spans"] or len(chunks) > 2:
            heard.set()
    assert chunks[-1].last and len(chunks[-1].samples)
    whole = tts.synthesize("Hello there.")
    assert abs(sum(len(chunk.samples) for chunk in chunks) - len(whole)) < 24000


def test_errors_and_the_end_of_listening(tts) -> None:
    with pytest.raises(InvalidRequest, match="nothing came before its end"):
        list(tts.stream(iter([" "])))

    def failing() -> Iterator[str]:
        yield "Hello there. And"
        raise KeyError("x")

    with pytest.raises(KeyError):
        list(tts.stream(failing()))
    left = threading.Event()

    def endless() -> Iterator[str]:
        yield "Hello there. And"
        assert left.wait(HANG_S)
        while True:
            yield "more"

    stream = tts.stream(endless())
    next(stream)
    stream.close()
    left.set()
    wait_until(lambda: all(thread.name != "text" for thread in threading.enumerate()))
