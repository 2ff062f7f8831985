"""A sentence through the server: is it speech, and does it come as fast as it should here?"""

import os
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.offline import GRPC_PROXIES
from tritone.diagnostics.doctor.checks.server import not_live
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.drain import running_streams
from tritone.launcher.model_processes import find_server
from tritone.variables import MODEL_VARIABLE

if TYPE_CHECKING:
    from tritone.arrays import Float32
    from tritone_client import SpeechClient, SpeechError, StreamMetrics, Utterance

# Harvard sentence 1 of list 1; 2.3 s when it is read out
TEXT = "The birch canoe slid on the smooth planks."
SHORTEST_S, LONGEST_S = 0.8, 8.0
SILENCE_DBFS, LOUDEST_DBFS = -50.0, -3.0  # root mean square; a full-scale sine is at -3
REAL_TIME_FIRST_S = 1.0  # the first packet of a conversation may take so long

_UTTERANCE_S = 20.0
_BOTH_S = 45.0  # two utterances
_ONCE_S = 5.0  # a sentence that took so long is not spoken again

# First packet of the embedded voice, over the time of one product as below on one core: 0.20 s
# (README, Measured) over 2.7 ms, on the same processor.
_FIRST_PACKET_PRODUCTS = 75.0
_SLOW_FACTOR = 3.0  # the README's own range is 0.17 to 0.5 s


@dataclass(frozen=True)
class Spoken:
    """samples: (n,)."""

    samples: "Float32"
    metrics: "StreamMetrics"

    @property
    def level_dbfs(self) -> float:
        import numpy as np

        power = float(np.mean(np.square(self.samples, dtype=np.float64)))
        return 10 * float(np.log10(max(power, 1e-20)))


@check("server.speech", unless=not_live, limit_s=_BOTH_S)
def speech(target: Target) -> Finding:
    """Speak the sentence, twice where that is quick, and judge the faster one."""
    try:
        from tritone_client import SpeechClient, SpeechError, Tls, Utterance
    except ImportError as error:
        return skipped(f"no client ({error}): {sys.executable} -m pip install -e '.[client]'")
    others = running_streams(f"http://{target.host('metrics')}:{target.metrics_port}/metrics")
    url = f"{target.host('grpc')}:{target.grpc_port}"
    try:
        files = {name: Path(file) for name, file in target.tls.items()}
        with SpeechClient(url, tls=Tls(**files) if files else None) as speaking:
            spoken = _speak(speaking, Utterance(TEXT, seed=1))
            if spoken.metrics.total_s < _ONCE_S:  # the first may have met a cold server
                again = _speak(speaking, Utterance(TEXT, seed=1))
                spoken = min(spoken, again, key=lambda one: one.metrics.total_s)
    except SpeechError as error:
        return _refused(target, url, error)
    except (OSError, ValueError) as error:  # of the files
        return failure(str(error), "name PEM files that can be read: --ca, --cert, --key")
    return bad_sound(spoken) or judge_pace(spoken, others or 0, expected_first_s(target))


def _speak(speaking: "SpeechClient", utterance: "Utterance") -> Spoken:
    import numpy as np

    from tritone_client import StreamMeter

    meter, parts = StreamMeter(speaking.sample_rate), []
    for samples in speaking.stream(utterance, timeout=_UTTERANCE_S):
        meter.packet(samples)
        parts.append(samples)
    return Spoken(np.concatenate(parts) if parts else np.zeros(0, np.float32), meter.finish())


def _refused(target: Target, url: str, error: "SpeechError") -> Finding:
    """The fix depends on how far the request came."""
    late, which = "", f"model server --model {target.model_dir}"
    if error.status == "UNAVAILABLE" and any(map(os.environ.get, GRPC_PROXIES)):
        which = "offline.proxies"
    elif error.status == "UNAVAILABLE":
        base = "" if target.http_port == 8000 else f" --port-base {target.http_port}"
        which = f"ports.grpc server.processes{base}"
    elif error.status == "DEADLINE_EXCEEDED":
        which = "machine server; docs/performance.md: what costs time"
        late = f"no whole sentence within {_UTTERANCE_S:g} s; "
    return failure(f"{url}: {late}{error}", f"tritone doctor --only {which}")


def bad_sound(spoken: Spoken) -> Finding | None:
    """What is wrong with it as a sound; None for what may be speech."""
    import numpy as np

    samples, seconds = spoken.samples, spoken.metrics.audio_s
    fix = "tritone doctor --only model; hear it: tritone say --help"
    if not samples.size:
        return failure(f"no audio arrived for {TEXT!r}", fix)
    if not np.isfinite(samples).all():
        count = samples.size - int(np.isfinite(samples).sum())
        return failure(f"{count} of {samples.size} samples are not finite", fix)
    level = spoken.level_dbfs
    if not SILENCE_DBFS < level < LOUDEST_DBFS:
        what = "silence" if level <= SILENCE_DBFS else "noise at full scale"
        return failure(f"{seconds:.1f} s at {level:.0f} dBFS: {what}, no speech", fix)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        return warning(
            f"{seconds:.1f} s of audio for a sentence of 2 to 3 s: cut off, or it does not end", fix
        )
    return None


def judge_pace(spoken: Spoken, others: float, expected_s: float | None) -> Finding:
    """others: streams that ran besides. expected_s: the first packet, as this machine gives it just
    now; None where that is not known for the model."""
    metrics = spoken.metrics
    first, rtf = metrics.first_packet_s, metrics.rtf
    assert first is not None and rtf is not None, "judged without audio"
    facts = (
        f"{metrics.audio_s:.1f} s at {spoken.level_dbfs:.0f} dBFS; first packet {first:.2f} s, "
        f"RTF {rtf:.2f}, {metrics.underruns} underruns"
    )
    if others:
        return passed(f"{facts}; not judged: {others:g} other streams run")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    if rtf >= 1 or first >= REAL_TIME_FIRST_S:
        return warning(
            f"{facts}: not real time, which is RTF below 1 and a first packet within "
            f"{REAL_TIME_FIRST_S:g} s; {load}",
            "stop other work (uptime, top), or take a GPU or fewer ODE steps: docs/performance.md",
        )
    if expected_s is None:
        return passed(f"{facts}; real time")
    facts += f"; this machine should give {expected_s:.2f} s just now, by a matrix product"
    if first > _SLOW_FACTOR * expected_s:
        return warning(
            f"{facts}: {first / expected_s:.1f} times as long; {load}",
            "tritone doctor --only machine.cores machine.memory; then restart the server",
        )
    return passed(f"{facts}; real time")


def expected_first_s(target: Target) -> float | None:
    """The first packet, from a product that is timed right now; for the embedded voice alone."""
    if target.on_gpu or _served_model(target) != Target().model_dir:
        return None
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    outcome = call(seconds_of_product, limit_s=10.0, environment={**os.environ, **threads})
    return None if outcome.status else _FIRST_PACKET_PRODUCTS * float(outcome.answer)


def seconds_of_product() -> float:
    """In a process of its own: the median time of a matrix product."""
    import numpy as np

    factor, seconds = np.random.default_rng(0).random((512, 512), dtype=np.float32), []
    for _ in range(41):
        began = time.perf_counter()
        factor @ factor
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _served_model(target: Target) -> Path:
    """The model directory that the server was given, as far as that can be seen."""
    import psutil

    named, server = "", find_server(target.http_port)
    if server is not None:
        with suppress(psutil.Error):  # gone, or another user's process
            named = psutil.Process(server).environ().get(MODEL_VARIABLE, "")
    return Path(named or target.model_dir).resolve()
