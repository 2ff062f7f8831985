"""Text spoken by the real server before its sentence has been written out."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from serving import cancelled, gauges, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server
BEGUN = "The birch canoe slid on the smooth planks of the "
REST = "harbour, and Dr. Smith paid $3.50 for it."
MODE = {"text_mode": "interleaved"}


def test_the_beginning_of_a_sentence_is_heard_before_its_end(client: SpeechClient) -> None:
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield from BEGUN
        assert heard.wait(HANG_S)
        yield from REST

    packets = []
    for samples in client.stream_text(pieces(), Utterance("", seed=1), **MODE):
        packets.append(samples)
        heard.set()
    assert len(packets) > 1 and is_speech(np.concatenate(packets))


def test_the_record_has_all_of_the_text(server: TritonServer, client: SpeechClient) -> None:
    with client.begin(Utterance("", seed=1), timing=True, **MODE) as speech:
        for word in f"{BEGUN}{REST} Is it true?".split(" "):
            speech.say(f"{word} ")
        speech.end()
        packets = list(speech.packets())
    record = packets[-1].timing
    spans = record["spans"]
    assert record["outcome"] == "ok" and spans[0]["text"][0] == 0
    assert spans[-1]["text"][1] == len(f"{BEGUN}{REST} Is it true? ")
    assert spans[-1]["samples"][1] == sum(len(packet.samples) for packet in packets)
    wait_until_free(server)


def test_a_cancel_while_it_waits_for_text(server: TritonServer, client: SpeechClient) -> None:
    before = cancelled(server)
    with client.begin(Utterance(BEGUN, seed=1), **MODE) as speech:
        for packet in speech.packets():
            assert len(packet.samples)
            speech.cancel()
        assert speech.cancellation is not None and speech.cancellation.samples
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_writer_that_stalls_holds_no_one_up(server: TritonServer, client: SpeechClient) -> None:
    before = cancelled(server)
    with client.begin(Utterance(BEGUN, seed=1), **MODE) as speech:
        assert len(next(speech.packets()).samples)
        wait_until(lambda: gauges(server)["tritone_streams"] == 1)
        assert is_speech(client.speak(Utterance("Meanwhile another one speaks.")))
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_mode_that_does_not_exist_is_named(client: SpeechClient) -> None:
    with pytest.raises(SpeechError, match="is 'words'; take one of sentences, interleaved, auto"):
        list(client.stream_text(["Hello."], text_mode="words"))
