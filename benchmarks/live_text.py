"""How early text that is still being written is heard: `python -m benchmarks.live_text`.

On a server of its own, with the embedded voice: two sentences of a list come token by
token, at the pace of a language model that writes them, once for each way to take text:

    first audio    seconds from the end of the first sentence (its last token is sent) to the first
                   sound; below zero where it is heard before the sentence is written
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gateway import server_in
from evaluation.sentences import LISTS, sentences
from tritone.synthesis.live_text import TextMode
from tritone_client import SpeechClient, Utterance

_TOKEN = re.compile(r"\s*[\w']+|\s*[^\w\s]")  # as large models have them: words, and marks

MODES = (TextMode.SENTENCES, TextMode.INTERLEAVED)


class Writer:
    """Writes two sentences, a token each time. ended: when the first was written whole."""

    def __init__(self, tokens: Sequence[Sequence[str]], pace: float) -> None:
        self._tokens, self._pause = tokens, 1 / pace
        self.ended = 0.0

    def __iter__(self) -> Iterator[str]:
        first, second = self._tokens
        yield from self._written(first)
        self.ended = time.perf_counter()
        yield from self._written(second)

    def _written(self, tokens: Sequence[str]) -> Iterator[str]:
        for token in tokens:
            time.sleep(self._pause)
            yield token


def first_audio(
    client: SpeechClient, voice: str, tokens: Sequence[Sequence[str]], mode: TextMode, pace: float
) -> float:
    writer, heard = Writer(tokens, pace), 0.0
    utterance = Utterance("", voice=voice)
    for samples in client.stream_text(writer, utterance, text_mode=mode.value):
        if samples.size and not heard:
            heard = time.perf_counter()
    return heard - writer.ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pace", type=float, default=10, help="tokens a second")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of sentences")
    parser.add_argument("--voices", default="heart,joe")
    parser.add_argument("--list", default="harvard", choices=LISTS, help="of evaluation/")
    options = parser.parse_args()
    texts = [sentence.text for sentence in sentences(options.list)][: 2 * options.rounds]
    pairs = [
        (_TOKEN.findall(a), _TOKEN.findall(f" {b}"))
        for a, b in zip(texts[::2], texts[1::2], strict=True)
    ]
    lengths = sorted(len(first) for first, _ in pairs)
    print(f"{lengths[0]} to {lengths[-1]} tokens in a first sentence, {options.pace:g} a second")
    with tempfile.TemporaryDirectory() as folder, server_in(Path(folder)) as server:
        client = SpeechClient(server.urls.grpc)
        for voice in options.voices.split(","):
            for mode in MODES:
                times = [first_audio(client, voice, pair, mode, options.pace) for pair in pairs]
                before = sum(t < 0 for t in times)
                middle = statistics.median(times)
                print(
                    f"{voice:<6} {mode.value:<12} {middle:+.2f} s ({min(times):+.2f} to "
                    f"{max(times):+.2f}), before the end in {before} of {len(times)}"
                )


if __name__ == "__main__":
    main()
