"""What one machine of a kind was measured to do, as `python -m benchmarks.capacity` writes it."""

from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tritone.errors import InvalidRequest

_STEPS = 1000  # of a share
_MOST_STREAMS = 10_000  # of one machine; every number up to it is worked out

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Several = Annotated[list[Positive], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(_Strict):
    """So many streams kept going: each list has a value for each of them that ended well.

    audio_per_second: seconds of audio that all of them together made in a second.
    """

    streams: Annotated[int, Field(gt=0, le=_MOST_STREAMS)]
    audio_per_second: Positive
    first_packet_s: Several
    stream_s: Several
    audio_s: Several


class Measured(_Strict):
    """One machine. kind: its name. cpu_s_per_audio_s: processor seconds that a second of audio
    takes; None where they could not be seen."""

    format: Literal["tritone-capacity-1"]
    kind: Annotated[str, Field(min_length=1)]
    model: str
    cores: Annotated[int, Field(gt=0)]
    cpu_s_per_audio_s: Positive | None
    levels: Annotated[list[Level], Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "Measured":
        counts = [level.streams for level in self.levels]
        if counts[0] != 1 or any(b <= a for a, b in pairwise(counts)):
            raise ValueError(f"levels have {counts} streams; they must begin at 1 and grow")
        return self

    @cached_property
    def _counts(self) -> list[int]:
        return [level.streams for level in self.levels]

    @cached_property
    def audio_s(self) -> list[float]:
        """Lengths of all speeches."""
        return [seconds for level in self.levels for seconds in level.audio_s]

    @cached_property
    def most(self) -> int:
        """Streams of the highest level; beyond it everything is extrapolated."""
        return self._counts[-1]

    def speed(self, streams: int) -> float:
        """Seconds of audio a second that so many streams (1 or more) get together; linear between
        levels, and no more beyond the last."""
        return self._speeds[min(streams, self.most) - 1]

    def first_packet(self, streams: int, share: float) -> float:
        """Seconds within which this share (0 to 1) of the streams that come as the `streams`-th
        have their first packet; linear between levels, and proportional beyond the last."""
        beyond = max(1.0, streams / self.most)
        return beyond * self._first_packets[min(streams, self.most) - 1][round(share * _STEPS)]

    @cached_property
    def _speeds(self) -> list[float]:
        """By streams, from one."""
        speeds = [level.audio_per_second for level in self.levels]
        return np.interp(range(1, self.most + 1), self._counts, speeds).tolist()  # type: ignore[no-any-return]

    @cached_property
    def _first_packets(self) -> list[list[float]]:
        """By streams, from one, and by share."""
        points = np.linspace(0, 1, _STEPS + 1)
        at_levels = np.array([np.quantile(level.first_packet_s, points) for level in self.levels])
        streams = range(1, self.most + 1)
        columns = [np.interp(streams, self._counts, column) for column in at_levels.T]
        return np.array(columns).T.tolist()  # type: ignore[no-any-return]


def read_measured(path: Path) -> Measured:
    """Raises InvalidRequest, which names the file and the field."""
    try:
        return Measured.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidRequest(
            str(path), f"{error.strerror}; python -m benchmarks.capacity writes such a file"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidRequest(str(path), f"{where}: {first['msg']}") from error
