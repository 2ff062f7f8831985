"""What is written through the real server: pauses, places, reasons."""

from itertools import pairwise

import numpy as np
import pytest
from serving import RATE

from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server


def speak(client: SpeechClient, text: str, **options: float) -> tuple[np.ndarray, dict]:
    packets = list(client.packets(Utterance(text, seed=1, **options), timing=True))
    return np.concatenate([packet.samples for packet in packets]), packets[-1].timing


@pytest.mark.parametrize("speed", [1.0, 1.5])
def test_silence_is_exact_at_any_speed(client: SpeechClient, speed: float) -> None:
    text = "<speak>Good morning.<break time='400ms'/>Good night.<break time='1s'/></speak>"
    wave, timing = speak(client, text, speed=speed)
    (_, before), (after, end) = (span["samples"] for span in timing["spans"])
    assert after - before == 0.4 * RATE and len(wave) - end == RATE
    assert not wave[before:after].any() and not wave[end:].any()
    assert wave[:before].any() and wave[after:end].any()


def test_paragraphs_items_and_places(client: SpeechClient) -> None:
    text = "# News\n\nIt is 3.14 now.\n\n- apples 😊\n- pears\n\n—\n"
    wave, timing = speak(client, text)
    spans = timing["spans"]
    gaps = [b["samples"][0] - a["samples"][1] for a, b in pairwise(spans)]
    assert gaps == [0.6 * RATE, 0.3 * RATE, 0.3 * RATE]
    edges = [edge for span in spans for edge in span["text"]]
    assert edges[0] == 0 and edges[-1] == len(text) and edges[1:-1:2] == edges[2:-1:2]
    assert [text[span["text"][0] :][:2] for span in spans] == ["# ", "It", "ap", "pe"]
    assert spans[-1]["samples"][1] == len(wave)


def test_nothing_to_say_has_a_reason_of_its_own(client: SpeechClient) -> None:
    for text in ("...", "—", "()", "😊"):
        with pytest.raises(SpeechError) as refused:
            client.speak(Utterance(text))
        assert refused.value.reason == "NOTHING_TO_SAY", text
    with pytest.raises(SpeechError) as refused:
        client.speak(Utterance("<speak>"))
    assert refused.value.reason == ""
    assert len(client.speak(Utterance("8...")))
