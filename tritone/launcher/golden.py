"""The golden sample: a sentence that a server must speak well before it is called ready.

Weights that are damaged, an engine of another checkpoint or a precision that the model does not
stand give sound, but not speech. `golden.json` of a model directory says how the sentence sounds;
without it only what holds for all speech is checked.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError

from tritone.arrays import Float32
from tritone.checkpoints.atomic_write import write_bytes
from tritone.config import Strict
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.frontend.audio.sketch import BANDS, COLUMNS, Sketch
from tritone.frontend.text.pace import implausible
from tritone.plain_json import parse_json

GOLDEN_NAME = "golden.json"
SENTENCE = "Fresh bread is sold at noon."
WORD = "Hello."  # where nothing is stored: a large model on a CPU takes seconds for a sentence

# What the same sentence may differ in: by the last bits of a machine, int4 to float32, other seeds.
# The embedded voice's differ by 5 %, 0.5 dB, 0.7 dB, and their likeness is 0.85 or more.
DURATION = 0.3  # of the stored one
LEVEL_DB = 6.0
SPECTRUM_DB = 2.0
LIKENESS = 0.7
# What all speech has, of any voice.
QUIETEST_DBFS, LOUDEST_DBFS = -50.0, -6.0

_OF_SOUND = "flow or vocoder"
_OF_WORDS = "the language model"
_CAUSES = {
    "finite": _OF_SOUND,
    "silence": _OF_SOUND,
    "level": _OF_SOUND,
    "spectrum": _OF_SOUND,
    "duration": _OF_WORDS,
    "flaws": _OF_WORDS,
    "likeness": f"{_OF_WORDS}, or the flow",
    "spoken": "the stage that the error names",
}


@dataclass(frozen=True)
class Spoken:
    """What came of a sentence. samples: (n,) at `rate` Hz. flaws: found in it, by kind."""

    samples: Float32
    rate: int
    flaws: Mapping[str, int] = field(default_factory=dict)


Speak = Callable[[str, str, int | None], Spoken]
"""A text in a voice, with a top_k other than the checkpoint's or None. Raises StageFailed where
that failed, and EnvironmentProblem where the server does not answer."""


Bands = Annotated[tuple[FiniteFloat, ...], Field(min_length=BANDS, max_length=BANDS)]


class Golden(Strict):
    """As in golden.json: how a sentence sounds in a voice, greedily decoded; see `Sketch`."""

    text: str
    voice: str
    seconds: FiniteFloat
    level_dbfs: FiniteFloat
    bands_db: Bands
    course_db: Annotated[tuple[Bands, ...], Field(min_length=COLUMNS, max_length=COLUMNS)]

    @classmethod
    def of(cls, text: str, voice: str, spoken: Spoken) -> "Golden":
        """Raises ModelDirectoryError for speech that no server should be measured by."""
        faults = [*_general(text, spoken), *_flawed(spoken)]
        if faults:
            raise ModelDirectoryError(
                f"{text!r} is no golden sample: {'; '.join(map(str, faults))}"
            )
        sketch = Sketch.of(spoken.samples, spoken.rate)
        return cls(
            text=text,
            voice=voice,
            seconds=round(sketch.seconds, 3),
            level_dbfs=round(sketch.level_dbfs, 1),
            bands_db=tuple(sketch.bands_db.round(1).tolist()),
            course_db=tuple(tuple(column) for column in sketch.course_db.round(1).tolist()),
        )

    @property
    def sketch(self) -> Sketch:
        bands, course = np.array(self.bands_db), np.array(self.course_db)
        return Sketch(self.seconds, self.level_dbfs, bands, course)


@dataclass(frozen=True)
class Fault:
    """check: its name. found, wanted: the measured value and the bounds, with units."""

    check: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.check} is {self.found}, expected {self.wanted}"


@dataclass(frozen=True)
class Sample:
    """What a server is to speak. golden: how it should sound, if that is known."""

    model_dir: Path
    text: str
    voice: str
    golden: Golden | None

    @classmethod
    def of(cls, model_dir: Path, default_voice: str | None) -> "Sample | None":
        """Of a model directory, or a word in the default voice; None where there is none."""
        golden = stored(model_dir)
        if golden:
            return cls(model_dir, golden.text, golden.voice, golden)
        return cls(model_dir, WORD, default_voice, None) if default_voice else None

    def examine(self, speak: Speak) -> None:
        """Have a server speak it.

        Raises ModelDirectoryError for speech that is not what it should be, naming each check that
        failed, and EnvironmentProblem where the server does not answer.
        """
        said = f"golden sample, {self.text!r} in the voice {self.voice}"
        try:
            spoken = speak(self.text, self.voice, 1 if self.golden else None)
        except StageFailed as error:
            advice = _advice("spoken", self.model_dir)
            raise ModelDirectoryError(f"{said}: {error}. {advice}") from error
        if wrong := faults(self.text, spoken, self.golden):
            found, advice = "; ".join(map(str, wrong)), _advice(wrong[0].check, self.model_dir)
            raise ModelDirectoryError(f"{said}: {found}. {advice}")


def _advice(check: str, model_dir: Path) -> str:
    return (
        f"Likely {_CAUSES[check]}: damaged weights or those of another checkpoint, a stale engine, "
        f"or a precision that is too coarse. Run tritone doctor --only model --model {model_dir}; "
        "convert it again, or rebuild its engines. Where it was changed on purpose: tritone golden "
        f"{model_dir}. --no-golden serves it as it is"
    )


def stored(model_dir: Path) -> Golden | None:
    """Of the model directory, if it has one; ModelDirectoryError says what is wrong with it."""
    path = model_dir / GOLDEN_NAME
    if not path.is_file():
        return None
    try:
        return Golden.model_validate(parse_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        advice = f"make it anew: tritone golden {model_dir}"
        raise ModelDirectoryError(f"{path}: {key}: {first['msg']}; {advice}") from error


def store(model_dir: Path, golden: Golden) -> Path:
    path = model_dir / GOLDEN_NAME
    write_bytes(path, (json.dumps(golden.model_dump(mode="json")) + "\n").encode())
    return path


def faults(text: str, spoken: Spoken, golden: Golden | None) -> list[Fault]:
    """All that is wrong with a sentence; golden: how it should sound, if that is known."""
    if not np.isfinite(spoken.samples).all():
        return [Fault("finite", "NaN or infinity among the samples", "numbers")]
    found = list(_general(text, spoken))
    if golden and not any(fault.check == "silence" for fault in found):
        found += [*_unlike(Sketch.of(spoken.samples, spoken.rate), golden), *_flawed(spoken)]
    return list({fault.check: fault for fault in found}.values())


def _general(text: str, spoken: Spoken) -> Iterator[Fault]:
    sketch = Sketch.of(spoken.samples, spoken.rate)
    level = f"{sketch.level_dbfs:.1f} dBFS"
    if sketch.level_dbfs < QUIETEST_DBFS:
        yield Fault("silence", level, f"speech above {QUIETEST_DBFS:g} dBFS")
    elif sketch.level_dbfs > LOUDEST_DBFS:
        yield Fault("level", level, f"speech below {LOUDEST_DBFS:g} dBFS")
    if problem := implausible(text, sketch.seconds):
        yield Fault("duration", f"{sketch.seconds:.2f} s", f"what the text takes: it {problem}")


def _flawed(spoken: Spoken) -> Iterator[Fault]:
    if spoken.flaws:
        counted = ", ".join(f"{count} {kind}" for kind, count in spoken.flaws.items())
        yield Fault("flaws", counted, "none")


def _unlike(sketch: Sketch, golden: Golden) -> Iterator[Fault]:
    kept = golden.sketch
    for name, found, low, high, unit in (
        (
            "duration",
            sketch.seconds,
            (1 - DURATION) * kept.seconds,
            (1 + DURATION) * kept.seconds,
            "s",
        ),
        (
            "level",
            sketch.level_dbfs,
            kept.level_dbfs - LEVEL_DB,
            kept.level_dbfs + LEVEL_DB,
            "dBFS",
        ),
    ):
        if not low <= found <= high:
            yield Fault(name, f"{found:.2f} {unit}", f"{low:.2f} to {high:.2f} {unit}")
    if (apart := sketch.spectrum_db(kept)) > SPECTRUM_DB:
        yield Fault(
            "spectrum", f"{apart:.1f} dB from the stored one", f"{SPECTRUM_DB:g} dB or less"
        )
    if (alike := sketch.likeness(kept)) < LIKENESS:
        yield Fault("likeness", f"{alike:.2f} of 1", f"{LIKENESS:g} or more")
