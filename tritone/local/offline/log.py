"""The log of a run: one line an utterance, and totals under the names of upstream's script.

Totals (the offline_inference.py of upstream's Triton runtime writes the same names to log.txt).
Stage times are sums over utterances of the seconds each waited; with several at once these
overlap, so that the stages together exceed pipeline_time_seconds.

    data_load_time_seconds                       reading and decoding the recordings
    speech_tokenization_time_in_collator_seconds recording to voice: resampling, speech tokens, and,
                                                 unlike upstream, mel and speaker vector, which it
                                                 counts to token2wav; a voice that is known is free
    text_tokenization_time_in_collator_seconds   normalising, cutting and tokenising the text
    llm_time_seconds                             waiting for speech tokens
    token2wav_time_seconds                       flow_time_seconds + vocoder_time_seconds
    audio_save_time_seconds                      writing the wave files
    total_audio_duration_seconds                 length of the speech written
    pipeline_time_seconds                        the clock, from the first utterance's start to the
                                                 last file's end, without loading the models
    pipeline_rtf                                 pipeline time / audio duration

Left out: audio_processing_time_in_collator_seconds (resampling is part of making the voice) and
llm_post_processing_time_seconds (tokens come as numbers; nothing is parsed).
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from tritone.local.offline.measure import StageSeconds
from tritone.local.offline.speak import Outcome

TOTALS_NAME = "log.json"
UTTERANCES_NAME = "utterances.jsonl"
_FROM_TIMING = ("tokens", "segments", "retries", "notes")


class RunLog:
    """Writes OUT/utterances.jsonl as utterances end, after those of earlier runs, and
    OUT/log.json with the totals of this run."""

    def __init__(
        self,
        out: Path,
        arguments: dict[str, object],
        *,
        skipped: int,
        bad_lines: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """skipped: utterances that were already there. bad_lines: of the manifest."""
        self._out, self._arguments = out, arguments
        self._counts = {"spoken": 0, "skipped": skipped, "failed": 0, "bad_lines": bad_lines}
        self._seconds = StageSeconds()
        self.audio_s = 0.0
        self._clock = clock
        self._begin = self._last_end = clock()

    def begin(self) -> None:
        """The pipeline's time begins now, after the models are loaded."""
        self._begin = self._last_end = self._clock()

    @property
    def pipeline_s(self) -> float:
        """Seconds from `begin` to the end of the last utterance."""
        return self._last_end - self._begin

    @property
    def rtf(self) -> float | None:
        """Pipeline seconds for a second of speech; None without any."""
        return self.pipeline_s / self.audio_s if self.audio_s else None

    @property
    def counts(self) -> dict[str, int]:
        """How many utterances were spoken, skipped and failed, and lines that were bad."""
        return dict(self._counts)

    def add(self, outcome: Outcome) -> None:
        """Count an utterance that has just ended, and write its line."""
        self._last_end = self._clock()
        self._counts["failed" if outcome.problem else "spoken"] += 1
        self.audio_s += outcome.audio_s
        for stage in fields(StageSeconds):
            total = getattr(self._seconds, stage.name) + getattr(outcome.seconds, stage.name)
            setattr(self._seconds, stage.name, total)
        record = {
            "id": outcome.item.id,
            "line": outcome.item.line,
            "audio_seconds": round(outcome.audio_s, 4),
            "stage_seconds": {k: round(v, 4) for k, v in asdict(outcome.seconds).items()},
            **{name: outcome.timing[name] for name in _FROM_TIMING if name in outcome.timing},
        }
        if outcome.problem:
            record["error"] = outcome.problem
        with (self._out / UTTERANCES_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def totals(self) -> dict[str, object]:
        """What log.json holds; see the head of this module."""
        s = self._seconds
        times = {
            "data_load_time_seconds": s.recording,
            "speech_tokenization_time_in_collator_seconds": s.voice,
            "text_tokenization_time_in_collator_seconds": s.text,
            "llm_time_seconds": s.llm,
            "token2wav_time_seconds": s.flow + s.vocoder,
            "flow_time_seconds": s.flow,
            "vocoder_time_seconds": s.vocoder,
            "audio_save_time_seconds": s.save,
            "total_audio_duration_seconds": self.audio_s,
            "pipeline_time_seconds": self.pipeline_s,
        }
        rounded = {name: round(value, 4) for name, value in times.items()}
        rtf = None if self.rtf is None else round(self.rtf, 4)
        return {"args": self._arguments, **rounded, "pipeline_rtf": rtf, "utterances": self.counts}

    def write(self) -> Path:
        """Write the totals as they are now."""
        path = self._out / TOTALS_NAME
        path.write_text(json.dumps(self.totals(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        return path
