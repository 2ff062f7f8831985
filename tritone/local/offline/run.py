"""A whole manifest, from its check to its log: what `tritone offline` does."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from tritone.llm.contract import SamplingParams
from tritone.local.offline.log import RunLog
from tritone.local.offline.manifest import Item, read_manifest
from tritone.local.offline.speak import speak_all, wave_path
from tritone.local.stages import LocalStages
from tritone.synthesis.limits import check
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.values import SynthesisRequest


@dataclass(frozen=True)
class Order:
    """What is to be spoken and how.

    batch: utterances at a time. threads: of each operator of flow and vocoder; None shares out
    torch's own. precision: of the language model's weights, with profile cpu. Sampling is for lines
    that do not say; None is the checkpoint's own.
    """

    model: Path
    manifest: Path
    out: Path
    profile: str
    batch: int
    threads: int | None
    precision: str
    seed: int
    temperature: float | None
    top_p: float | None
    top_k: int | None

    @property
    def sampling(self) -> SamplingParams:
        return SamplingParams(self.temperature, self.top_p, self.top_k, self.seed)

    def plain(self) -> dict[str, Any]:
        """For the log."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def run(order: Order, tell: Callable[[str], object]) -> RunLog:
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
        order.plain(),
        skipped=len(manifest.items) - len(items),
        bad_lines=len(manifest.problems),
    )
    if items:
        _speak(items, order, settings, log, tell)
    return log


def _load(order: Order, settings: Settings) -> LocalStages:
    """The models, with the cores shared out among the utterances that run at once."""
    torch.set_num_threads(order.threads or max(1, torch.get_num_threads() // order.batch))
    values: Mapping[str, Any] = {"slots": order.batch}  # what the language model advances together
    if order.profile == "cpu":
        values = {**values, "precision": order.precision}
    return LocalStages(order.model, settings.limits, profile=order.profile, language_model=values)


def _speak(
    items: list[Item],
    order: Order,
    settings: Settings,
    log: RunLog,
    tell: Callable[[str], object],
) -> None:
    """Speak the items; the totals are written however it ends."""
    stages = _load(order, settings)
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
