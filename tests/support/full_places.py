"""Run where /dev/shm and the folder that is named are small file systems of their own: a server
while both are full, and once they are not. Prints what came of each request, as JSON."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from paths import EMBEDDED
from serving import SHORT
from toy_server import free_ports
from waiting import HANG_S

from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.model_processes import model_processes
from tritone_client import SpeechClient, SpeechError, Utterance

SHM = Path("/dev/shm")
ROOM = 4096  # bytes left


def large() -> Utterance:
    """With a recording as long as may be, which needs room of its own."""
    time = np.arange(30 * 48000) / 48000
    wave = 0.2 * np.sin(2 * np.pi * 120 * time) * np.abs(np.sin(5 * time))
    return Utterance(SHORT, reference_wav=wave.astype(np.float32), reference_rate=48000, seed=1)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - ROOM)))
    return filler


def main() -> None:
    cache_dir = Path(sys.argv[1])
    settings = ServerSettings(model_dir=EMBEDDED, cache_dir=cache_dir, **free_ports())
    found: dict[str, object] = {}
    with TritonServer(settings) as server, SpeechClient(server.urls.grpc) as client:
        server.wait_ready()

        def said(name: str, utterance: Utterance) -> None:
            try:
                found[name] = len(client.speak(utterance, timeout=HANG_S))
            except SpeechError as error:
                found[name] = str(error)

        said("before", Utterance(SHORT, seed=1))
        processes = model_processes(server.pid)
        fillers = [fill(SHM), fill(cache_dir)]
        said("small", Utterance(SHORT, seed=1))
        said("large", large())
        said("small again", Utterance(SHORT, seed=1))
        for filler in fillers:
            filler.unlink()
        said("large after", large())
        found["same processes"] = processes == model_processes(server.pid)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
