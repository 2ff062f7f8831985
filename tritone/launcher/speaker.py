"""Speaking with a server over HTTP, for which the launcher needs no certificate."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tritone.errors import EnvironmentProblem, StageFailed
from tritone.launcher.drain import opener
from tritone.launcher.golden import Spoken

_PACKET_S = 60.0  # until the next packet


def speaker(http_url: str, model: str, rate: int) -> Callable[..., Spoken]:
    """Has the server say a text in a voice: `golden.Speak`, top_k by default the checkpoint's.

    rate: of the model's samples, in Hz.
    """
    url = f"{http_url}/v2/models/{model}/generate_stream"

    def speak(text: str, voice: str, top_k: int | None = None) -> Spoken:
        wanted: dict[str, Any] = {"target_text": text, "voice": voice, "seed": 1}
        if top_k is not None:
            wanted["top_k"] = top_k
        parts, record = [np.zeros(0, np.float32)], {}
        for event in _events(url, json.dumps(wanted).encode()):
            if "error" in event:
                raise StageFailed(model, event["error"])
            parts.append(np.array(event.get("waveform", []), np.float32).reshape(-1))
            record = json.loads(event.get("timing", "{}"))
        return Spoken(np.concatenate(parts), rate, record.get("flaws", {}))

    return speak


def _events(url: str, wanted: bytes) -> Iterator[dict[str, Any]]:
    """The responses of the endpoint, errors too, as they are in its JSON."""
    request = urllib.request.Request(url, wanted, {"Content-Type": "application/json"})
    try:
        with opener().open(request, timeout=_PACKET_S) as answer:
            lines = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            lines = error.read()
    except OSError as error:
        raise EnvironmentProblem(f"no answer from {url}: {error}") from error
    for line in lines.splitlines():
        if said := line.removeprefix(b"data: "):
            yield json.loads(said)
