"""What a server weighs after hours of speech, many recordings and many cancels.

    python -m soak.memory        # make memory

Texts of 2 to 60 words at several speeds, streamed and not, until `--hours` of speech were made;
then `--references` recordings that the server has not heard, and `--cancels` streams that are left
after their first packet. Exit status 1 if all processes together have more than `--most` MiB (PSS),
or grew by more than 1 % in the last half of the speech.
"""

import argparse
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from soak.report import Report, plot
from soak.requests import HANG_S
from soak.server import UNLIMITED, launcher, settled
from soak.watch import Watch
from tritone import resources
from tritone_client import SpeechClient, Utterance

FLAT = 0.01
TOGETHER = 3
_WORDS = [
    "the",
    "birch",
    "canoe",
    "slid",
    "on",
    "smooth",
    "planks",
    "while",
    "rice",
    "is",
    "often",
    "served",
    "in",
    "round",
    "bowls",
    "and",
    "glue",
    "holds",
    "a",
    "dark",
    "blue",
    "sheet",
    "to",
    "its",
    "background",
    "but",
    "these",
    "days",
    "a",
    "chicken",
    "leg",
    "is",
    "quite",
    "rare",
]


def utterance(number: int) -> Utterance:
    """Number by number the same ones."""
    draw = np.random.default_rng(number)
    words = draw.choice(_WORDS, int(draw.integers(2, 61)))
    speed = float(draw.uniform(0.7, 1.4)) if number % 3 == 0 else 1.0
    voice = ("heart", "joe")[number % 2]
    return Utterance(
        f"{' '.join(words)}.", voice=voice, seed=number, speed=speed, streaming=number % 4 != 3
    )


def recording(number: int) -> Utterance:
    """3 to 9 s of something like a voice, another for each number."""
    draw = np.random.default_rng(number)
    time = np.arange(round(24000 * draw.uniform(3, 9))) / 24000
    pitch = draw.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / 24000
    voiced = sum(np.sin(k * phase) / k for k in range(1, 12))
    wave = 0.15 * voiced * np.abs(np.sin(2 * np.pi * 1.5 * time))
    given = {"reference_wav": wave.astype(np.float32), "reference_rate": 24000}
    return Utterance("Hello there.", seed=number, **given)


class Load:
    """All of it on one server; `spoken`: seconds of sound so far."""

    def __init__(self, client: SpeechClient) -> None:
        self._client, self._numbers = client, iter(range(10**9))
        self._taking = threading.Lock()
        self.spoken = 0.0

    def _each(self, ask: Callable[[int], float], go_on: Callable[[], bool]) -> None:
        def work() -> None:
            while go_on():
                with self._taking:
                    number = next(self._numbers)
                spoken = ask(number)
                with self._taking:
                    self.spoken += spoken

        with ThreadPoolExecutor(TOGETHER) as pool:
            for done in [pool.submit(work) for _ in range(TOGETHER)]:
                done.result()

    def speak(self, seconds: float) -> None:
        with tqdm(total=round(seconds), desc="speech", unit="s") as bar:

            def ask(number: int) -> float:
                spoken = len(self._client.speak(utterance(number), timeout=HANG_S)) / 24000
                bar.update(round(spoken))
                return spoken

            self._each(ask, lambda: self.spoken < seconds)

    def count(self, what: str, most: int, ask: Callable[[int], float]) -> None:
        left = iter(tqdm(range(most), desc=what))

        def more() -> bool:
            with self._taking:
                return next(left, None) is not None

        self._each(ask, more)

    def refer(self, number: int) -> float:
        return len(self._client.speak(recording(number), timeout=HANG_S)) / 24000

    def cancel(self, number: int) -> float:
        stream = self._client.stream(utterance(number), timeout=HANG_S)
        heard = len(next(stream)) / 24000
        stream.close()
        return heard


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--hours", type=float, default=2.0, help="of speech (%(default)s)")
    parser.add_argument("--references", type=int, default=100, help="(%(default)s)")
    parser.add_argument("--cancels", type=int, default=3000, help="(%(default)s)")
    parser.add_argument("--most", type=float, default=1300.0, help="MiB in all (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="(%(default)s)")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        launcher(options.model, Path(folder), UNLIMITED) as (running, url, metrics),
        SpeechClient(url) as client,
    ):
        load, watch = Load(client), Watch(running.pid)
        load.speak(3600 * options.hours)
        speech = len(watch.sights)
        load.count("references", options.references, load.refer)
        load.count("cancels", options.cancels, load.cancel)
        watch.close()
        left = settled(metrics)
    flat = Report([], watch.sights[:speech] or watch.sights, 0, [], left).growth()
    whole = Report([], watch.sights, 0, [], left)
    print(f"{whole}\nspeech alone, last half: {100 * flat:+.2f} %")
    plot(whole, options.out / "weight.png")
    most = max(sight.total for sight in watch.sights)
    print(f"at most {most:.0f} MiB; {options.out}/weight.png")
    return 1 if most > options.most or flat > FLAT else 0


if __name__ == "__main__":
    sys.exit(main())
