"""All stages of a voice in order, as many side by side as there are cores.

Each stage is a process of its own with one thread, and its output goes to WORK/logs/STAGE.log.
Stopping is safe at any time: the next run skips what is done and resumes what was begun.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.config import VoiceConfig

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline: `after` names the stages whose output it reads."""

    name: str
    target: str  # module:function, called with the work folder and the configuration
    after: tuple[str, ...] = ()
    cosyvoice3: str = ""  # target of that family, where it has its own

    def target_of(self, family: str) -> str:
        return (self.cosyvoice3 if family == "cosyvoice3" else "") or self.target


NOTHING = "training.pipeline:nothing"  # what a family does not have

# In order of priority: where cores are short, the earlier stage starts first.
STAGES = (
    Stage("corpus", "training.corpus:write"),
    Stage("start", "training.start:begin"),
    Stage("speech", "training.speech:generate", ("corpus", "start")),
    Stage("tokenizer", "training.train_tokenizer:train", ("speech",)),
    Stage("speaker", "training.train_speaker_encoder:train", ("speech",)),
    Stage("codes", "training.train_tokenizer:write_codes", ("tokenizer",)),
    Stage("lm", "training.train_lm:train", ("codes",), "training.cosyvoice3_lm:train"),
    Stage("flow", "training.train_flow:train", ("codes", "speaker"), "training.train_dit:train"),
    Stage(
        "vocoder",
        "training.train_vocoder:train",
        ("speech",),
        "training.train_causal_vocoder:train",
    ),
    Stage("listener", "training.train_listener:train", ("codes",), NOTHING),
    Stage("mels", "training.train_polish:write_mels", ("flow",), NOTHING),
    Stage("polish", "training.train_polish:train", ("mels", "vocoder")),
    Stage(
        "export",
        "training.export:run",
        ("lm", "polish", "listener"),
        "training.export_cosyvoice3:run",
    ),
    Stage("chains", "training.chains:write", ("polish",), NOTHING),
    Stage("plots", "training.plot:write", ("lm", "polish")),
)


def nothing(_work: Path, _voice: "VoiceConfig") -> None:
    """The target of a stage that a family does not have."""


class Pipeline:
    def __init__(self, work: Path, config: list[Path], cores: int) -> None:
        self._work, self._config, self._cores = work, config, cores
        (work / "done").mkdir(parents=True, exist_ok=True)
        (work / "logs").mkdir(exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Run what is left. Raises SystemExit naming the log of a stage that failed."""
        try:
            while not all(self._done(stage.name) for stage in STAGES):
                self._start_ready()
                time.sleep(POLL_SECONDS)
                self._collect()
        finally:
            for process in self._running.values():
                os.killpg(process.pid, signal.SIGTERM)
            for process in self._running.values():
                process.wait()

    def _done(self, name: str) -> bool:
        return (self._work / "done" / name).is_file()

    def _start_ready(self) -> None:
        for stage in STAGES:
            if len(self._running) >= self._cores:
                return
            waiting = not self._done(stage.name) and stage.name not in self._running
            if waiting and all(self._done(name) for name in stage.after):
                self._running[stage.name] = self._start(stage.name)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        sys.stderr.write(f"{name}: started, log in {self._log(name)}\n")
        command = [sys.executable, "-m", "training", name]
        command += ["--work", str(self._work), "--config", *map(str, self._config)]
        with self._log(name).open("ab") as log:
            # a session of its own: a stage's workers are stopped with it
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _log(self, name: str) -> Path:
        return self._work / "logs" / f"{name}.log"

    def _collect(self) -> None:
        for name, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[name]
            if code:
                raise SystemExit(f"{name} ended with status {code}: see {self._log(name)}")
            (self._work / "done" / name).touch()
            sys.stderr.write(f"{name}: done\n")
