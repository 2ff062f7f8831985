"""A whole manifest, from its check to its log: what `tritone offline` does."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tritone.acoustic.presets import SolverChoice
from tritone.llm.contract import SamplingParams
from tritone.local.offline.manifest import Item, read_manifest
from tritone.local.offline.speak import Outcome, StageSeconds, speak_all, wave_path
from tritone.local.offline.totals import Totals
from tritone.local.tts import LocalStages
from tritone.synthesis.limits import check
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.values import SynthesisRequest

TOTALS_NAME = "log.json"
UTTERANCES_NAME = "utterances.jsonl"
_FROM_TIMING = ("tokens", "segments", "retries", "notes")


class RunLog:
    """Writes OUT/utterances.jsonl as utterances end, after those of earlier runs, and
    OUT/log.json with the totals of this run.

    pipeline_s: seconds from `begin` to the end of the last utterance. counts: utterances by what
    became of them, and bad lines.
    """

    def __init__(
        self, out: Path, arguments: dict[str, object], *, skipped: int, bad_lines: int
    ) -> None:
        """skipped: utterances that were already there. bad_lines: of the manifest."""
        self._out, self._arguments = out, arguments
        self.counts = {"spoken": 0, "skipped": skipped, "failed": 0, "bad_lines": bad_lines}
        self._seconds = StageSeconds()
        self._begin = self.pipeline_s = self.audio_s = 0.0

    def begin(self) -> None:
        """The pipeline's time begins now, after the models are loaded."""
        self._begin = time.perf_counter()

    @property
    def rtf(self) -> float | None:
        """Pipeline seconds for a second of speech; None without any."""
        return self.pipeline_s / self.audio_s if self.audio_s else None

    @property
    def totals(self) -> Totals:
        return Totals(**self.counts, audio_s=self.audio_s, pipeline_s=self.pipeline_s)

    def add(self, outcome: Outcome) -> None:
        """Count an utterance that has just ended, and write its line."""
        self.pipeline_s = time.perf_counter() - self._begin
        self.counts["failed" if outcome.problem else "spoken"] += 1
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

    def write(self) -> Path:
        """Write the totals as they are now, under the names that offline_inference.py of upstream's
        Triton runtime has in its log.txt.

        Stage times are sums over utterances of the seconds each waited; with several at once these
        overlap, so that the stages together exceed pipeline_time_seconds. Left out of upstream's
        are audio_processing_time_in_collator_seconds (resampling is part of making the voice) and
        llm_post_processing_time_seconds (tokens come as numbers; nothing is parsed).
        """
        s = self._seconds
        times = {
            "data_load_time_seconds": s.recording,
            # mel and speaker vector too, which upstream counts to token2wav; a known voice is free
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
        totals = {
            "args": self._arguments,
            **rounded,
            "pipeline_rtf": rtf,
            "utterances": self.counts,
        }
        path = self._out / TOTALS_NAME
        path.write_text(json.dumps(totals, indent=2, ensure_ascii=False) + "\n", "utf-8")
        return path


@dataclass(frozen=True)
class Order:
    """What is to be spoken and how.

    batch: utterances at a time. threads: of each operator of flow and vocoder; None shares out
    torch's own. precision: of the language model's weights, with profile cpu. preset: as in
    SolverChoice. Sampling is for lines that do not say; None is the checkpoint's own.
    """

    model: Path
    manifest: Path
    out: Path
    profile: str
    batch: int
    threads: int | None
    precision: str
    preset: str
    seed: int
    temperature: float | None
    top_p: float | None
    top_k: int | None

    @property
    def sampling(self) -> SamplingParams:
        return SamplingParams(self.temperature, self.top_p, self.top_k, self.seed)


def run(order: Order, tell: Callable[[str], object]) -> Totals:
    """Speak what is not there yet; tell: is called with every problem of a line.

    Raises TritoneError or OSError where it cannot start or go on.
    """
    settings = Settings()
    check(SynthesisRequest("options", sampling=order.sampling), settings.limits)
    manifest = read_manifest(order.manifest, order.sampling, settings.limits)
    for problem in manifest.problems:
        tell(f"line {problem.line}: {problem.message}")
    order.out.mkdir(parents=True, exist_ok=True)
    items = [item for item in manifest.items if not wave_path(order.out, item).is_file()]
    log = RunLog(
        order.out,
        {k: str(v) if isinstance(v, Path) else v for k, v in asdict(order).items()},
        skipped=len(manifest.items) - len(items),
        bad_lines=len(manifest.problems),
    )
    if items:
        _speak(items, order, settings, log, tell)
    return log.totals


def _speak(
    items: list[Item], order: Order, settings: Settings, log: RunLog, tell: Callable[[str], object]
) -> None:
    """Speak the items; the totals are written however it ends."""
    # the cores are shared out among the utterances that run at once
    torch.set_num_threads(order.threads or max(1, torch.get_num_threads() // order.batch))
    values: dict[str, Any] = {"slots": order.batch}  # what the language model advances together
    if order.profile == "cpu":
        values["precision"] = order.precision
    stages = LocalStages(
        order.model,
        settings.limits,
        profile=order.profile,
        language_model=values,
        solver=SolverChoice(order.preset),
    )
    log.begin()
    bar = tqdm(total=len(items), unit="utterance", smoothing=0.05)
    try:
        spoken = speak_all(items, stages, settings, order.out, order.batch)
        with bar, closing(spoken) as outcomes:
            for outcome in outcomes:
                log.add(outcome)
                if outcome.problem:
                    where = f"line {outcome.item.line} ({outcome.item.id})"
                    tell(f"{where}: {outcome.problem}")
                bar.set_postfix(
                    audio=f"{log.audio_s:.0f}s", rtf=f"{log.rtf or 0:.3f}", refresh=False
                )
                bar.update()
    finally:
        stages.llm.close()
        log.write()
