"""What is asked of the server, and what the answers must be.

The server computes in float32, where a seeded request has the same samples alone and under load: so
each answer is compared with that of a quiet server, and that of a cancelled one with its beginning.
"""

import itertools
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tritone_client import SpeechClient, SpeechError, Utterance

Kind = Literal["whole", "cancelled", "refused", "reference"]
Outcome = Literal["good", "fault", "lost"]

_DEADLINE_S = 0.05
HANG_S = 60.0  # only what hangs takes so long

_TEXTS = (
    "Hello there.",
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background. It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of "
    "lemons makes fine punch. The box was thrown beside the parked truck.",
    "On 5/4 Dr. Smith paid $3.50 for 12 eggs, and the rest of the day was quiet. Nobody asked why.",
)
_BAD = (
    Utterance(""),
    Utterance("Hello.", speed=9.0),
    Utterance("Hello.", voice="nobody"),
    Utterance("Hello.", top_p=-1.0),
    Utterance("Hello.", reference_text="of nothing"),
    Utterance("\0"),
)


def pool() -> list[Utterance]:
    """Requests whose answers are known."""
    every = itertools.product(_TEXTS, ("heart", "joe"), (1, 2), (True, False))
    return [
        Utterance(
            text, voice=voice, seed=seed, streaming=streaming, speed=1.0 if seed == 1 else 1.2
        )
        for text, voice, seed, streaming in every
    ]


@dataclass(frozen=True)
class Result:
    """problem: of a fault, or with what a stream was lost. seconds: until the end."""

    kind: Kind
    outcome: Outcome
    samples: int = 0
    problem: str = ""


@dataclass
class Asker:
    """One client, with a mix of its own. expected: the answers to `every`, in order."""

    client: SpeechClient
    every: list[Utterance]
    expected: list[NDArray[np.float32]]
    seed: int
    _draw: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(self.seed)

    def ask(self) -> Result:
        """One request: of four, one is cancelled; of twenty, one is bad and one brings a voice."""
        kind: Kind = self._draw.choice(
            ["whole", "cancelled", "refused", "reference"], p=[0.62, 0.28, 0.05, 0.05]
        )
        try:
            return getattr(self, f"_{kind}")()  # type: ignore[no-any-return]
        except SpeechError as error:
            # whether a process had been killed is for the caller to say
            return Result(kind, "lost", problem=str(error))

    def _known(self) -> tuple[Utterance, NDArray[np.float32]]:
        index = int(self._draw.integers(len(self.every)))
        return self.every[index], self.expected[index]

    def _whole(self) -> Result:
        utterance, expected = self._known()
        heard = self.client.speak(utterance, timeout=HANG_S)
        return _compared("whole", heard, expected, whole=True)

    def _cancelled(self) -> Result:
        """After some packets, or by a deadline that may come before the first."""
        utterance, expected = self._known()
        packets = int(self._draw.integers(0, 4))
        stream = self.client.stream(utterance, timeout=HANG_S if packets else _DEADLINE_S)
        parts = [np.zeros(0, np.float32)]
        try:
            parts += itertools.islice(stream, packets or None)
        except SpeechError as error:
            if packets or error.status != "DEADLINE_EXCEEDED":
                raise
        stream.close()
        return _compared("cancelled", np.concatenate(parts), expected, whole=False)

    def _refused(self) -> Result:
        utterance = _BAD[int(self._draw.integers(len(_BAD)))]
        try:
            self.client.speak(utterance, timeout=HANG_S)
        except SpeechError as error:
            if error.status == "INVALID_ARGUMENT":
                return Result("refused", "good")
            raise
        return Result("refused", "fault", problem=f"{utterance} was spoken")

    def _reference(self) -> Result:
        """A voice that the server has not heard: known speech at another pitch and level."""
        _, recording = self._known()
        step = self._draw.uniform(0.85, 1.15)
        places = np.arange(0, min(len(recording), 8 * 24000) - 1, step)
        wave = np.interp(places, np.arange(len(recording)), recording).astype(np.float32)
        wave *= np.float32(self._draw.uniform(0.4, 0.9))
        wanted = Utterance("Hello there.", reference_wav=wave, reference_rate=24000, seed=1)
        heard = self.client.speak(wanted, timeout=HANG_S)
        good = bool(len(heard)) and bool(np.isfinite(heard).all())
        return Result(
            "reference", "good" if good else "fault", len(heard), "" if good else "silent"
        )


def _compared(
    kind: Kind, heard: NDArray[np.float32], expected: NDArray[np.float32], *, whole: bool
) -> Result:
    wanted = expected if whole else expected[: len(heard)]
    if np.array_equal(heard, wanted):
        return Result(kind, "good", len(heard))
    return Result(
        kind, "fault", len(heard), f"{len(heard)} samples are not the {len(wanted)} known"
    )
