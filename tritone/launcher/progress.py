"""What a starting server is loading, from its log."""

import logging
import time
from pathlib import Path

from tritone.launcher.server_log import ServerLog
from tritone.loading.catalogue import STEPS, doctor_command
from tritone.loading.lines import StepState

_LOG = logging.getLogger(__name__)

FIRST_TOLD_S = 20.0
_NO_STEP = (
    "no step has begun: its process starts or imports its packages (C++ models tell no steps)"
)
_NO_STEP_CHECK = "python"


class LoadProgress:
    """Tells of a start that lasts, at 20 s and at intervals that double, and names what was being
    loaded when it failed."""

    def __init__(self, log: ServerLog, model_dir: Path, profile: str) -> None:
        self._log, self._model_dir, self._profile = log, model_dir, profile
        self._began, self._told_after = time.monotonic(), FIRST_TOLD_S

    def tell(self) -> None:
        """Log what is loading, if it is time to."""
        if time.monotonic() - self._began < self._told_after:
            return
        _LOG.info(
            "still loading after %g s; the log is %s\n%s",
            self._told_after,
            self._log.path,
            "\n".join(self.loading(advise=False)) or "no model is being loaded",
        )
        self._told_after *= 2

    def loading(self, *, advise: bool = True) -> list[str]:
        """A line for each model that is not loaded yet: the step that it is in, and for how long.

        advise: with the likely cause and the doctor's command for all, not only for late ones.
        """
        steps = self._log.steps()
        return [self._line(model, steps.get(model), advise) for model in self._log.loading()]

    def unfinished(self) -> list[str]:
        """A line for each model that failed in a step, or was in one when the server ended."""
        steps = self._log.steps()
        loading = self._log.loading()
        return [self._line(model, steps[model], True) for model in loading if model in steps]

    def _line(self, model: str, state: StepState | None, advise: bool) -> str:
        if state is None:
            seconds = time.monotonic() - self._began
            advice = f"; {self._doctor(_NO_STEP_CHECK)}" if advise else ""
            return f"  {model}: {_NO_STEP}, {seconds:.0f} s{advice}"
        kind = STEPS[state.step]
        doctor = self._doctor(kind.check)
        if state.failed:
            return f"  {model}: failed in the step {state.step}; {doctor}"
        seconds = time.time() - state.since
        where = f"  {model}: in the step {state.step} for {seconds:.0f} s"
        if not advise and seconds <= state.limit_s:
            return where
        return f"{where}; likely cause: {kind.cause}; {doctor}"

    def _doctor(self, check: str) -> str:
        return f"examine: {doctor_command(check, self._model_dir, self._profile)}"
