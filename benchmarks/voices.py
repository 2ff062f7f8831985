"""What adding voices costs: `python -m benchmarks.voices`.

On servers and a gateway of its own, with the embedded voice:

    added      seconds from the end of the upload to the first sound of the new voice, and the same
               without the encoders' own time; the first one, and the first that has a transcript,
               wait for what is loaded for them
    start      seconds until a server is ready with N voices in its registry, and with none, in turn
"""

import argparse
import re
import statistics
import tempfile
import time
from contextlib import closing
from http.client import HTTPConnection
from json import dumps
from pathlib import Path

from benchmarks.gateway import TEXT, gateway_beside, over_http, server_in
from tritone.families import open_model
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.registry.record import Details
from tritone.frontend.registry.store import VoiceRegistry
from tritone.resources import embedded_voice

RECORDING = Path(__file__).parents[1] / "docs" / "heart.ogg"
_ENCODERS = re.compile(r"encoders;dur=([0-9.]+)")


def form(name: str, transcript: str) -> bytes:
    head = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    said = {"name": name, "consent": "x", "transcript": transcript}
    texts = "".join("--b\r\n" + head.format(*pair) for pair in said.items())
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.ogg"\r\n\r\n'
    return (texts + file).encode() + RECORDING.read_bytes() + b"\r\n--b--\r\n"


def once(port: int, name: str, transcript: str = "") -> tuple[float, float]:
    """Seconds from the end of the upload to the first sound, and of these in the encoders."""
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("POST", "/v1/audio/voices", form(name, transcript), kind)
        began = time.perf_counter()
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        found = _ENCODERS.search(answer.headers["Server-Timing"])
        assert found
        body = {"model": "tts-1", "voice": name, "input": TEXT, "response_format": "pcm"}
        as_json = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/audio/speech", dumps(body), as_json)
        sound = connection.getresponse()
        assert sound.status == 200 and sound.read(1)
        took = time.perf_counter() - began
        sound.read()
        connection.request("DELETE", f"/v1/audio/voices/{name}")
        assert connection.getresponse().read()
    return took, float(found[1]) / 1000


def filled(folder: Path, count: int) -> Path:
    """A registry with so many voices, each a copy of one."""
    registry = VoiceRegistry(folder)
    desk = VoiceDesk(open_model(embedded_voice()), registry)
    desk.add(RECORDING.read_bytes(), Details("first", consent="x"))
    record, arrays = registry.open("first")
    for number in range(count - 1):
        registry.put(record.model_copy(update={"id": f"v{number:04}"}), arrays)
    return folder


def started(voices: Path) -> float:
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        with server_in(Path(cache), voices):
            return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--voices", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=3, help="0 leaves them out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        voices = here / "voices"
        more = ["--voices", str(voices), "--voices-model", str(embedded_voice())]
        with server_in(here, voices) as server, gateway_beside(server, more) as (port, _):
            over_http(port, "pcm", seed=0)  # as `tritone serve` does before it says ready
            first, *others = [once(port, f"v{number}") for number in range(options.rounds + 1)]
            worded = once(port, "worded", TEXT)
        print(f"added, the first {first[0]:.2f} s, of these {first[1]:.2f} s in the encoders")
        print(f"the first with a transcript {worded[0]:.2f} s, of these {worded[1]:.2f} s in them")
        took = statistics.median(t for t, _ in others)
        rest = sorted(t - encoders for t, encoders in others)
        print(f"then {took:.2f} s (median of {len(others)})")
        print(f"without the encoders {statistics.median(rest):.2f} s, at most {rest[-1]:.2f} s")
        if not options.starts:
            return
        full = filled(here / "full", options.voices)
        times = [(started(here / "none"), started(full)) for _ in range(options.starts)]
        for what, side in zip(("no", options.voices), zip(*times, strict=True), strict=True):
            least, most = min(side), max(side)
            print(
                f"start, {what} voices: {statistics.median(side):.1f} s ({least:.1f} to {most:.1f})"
            )


if __name__ == "__main__":
    main()
