"""Start a server, speak one text through it, write it to a file, stop the server.

python scripts/demo.py --out out/demo.wav "Hello there."
"""

import argparse
import sys
from pathlib import Path

from client import SAMPLE_RATE, SpeechClient, SpeechError, StreamMeter, Utterance
from client.output import open_writer
from tritone.errors import TritoneError
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.launcher.warm_up import voices_to_warm, warm_up

PROJECT = Path(__file__).resolve().parents[1]


def speak(url: str, text: str, out: Path) -> None:
    """Stream one utterance to a file, with a line for each packet as it comes."""
    meter, writer = StreamMeter(SAMPLE_RATE), open_writer(str(out), SAMPLE_RATE)
    try:
        with SpeechClient(url) as client:
            for samples in client.stream(Utterance(text)):
                meter.packet(samples)
                writer.write(samples)
                print(f"  packet of {len(samples) / SAMPLE_RATE:.2f} s", flush=True)
    finally:
        writer.close()
    metrics = meter.finish()
    print(
        f"{out}: {metrics.audio_s:.2f} s of speech in {metrics.total_s:.2f} s, "
        f"first packet after {metrics.first_packet_s:.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text")
    parser.add_argument("--model", type=Path, default=PROJECT / "checkpoints" / "embedded")
    parser.add_argument("--out", type=Path, default=Path("out/demo.wav"))
    args = parser.parse_args()
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        PROJECT / "model_repo",
        PROJECT / ".triton",
        model_dir=args.model.resolve(),
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TritonServer(settings) as server:
            print("starting Triton with the five models", flush=True)
            seconds = server.wait_ready()
            seconds += warm_up(server.urls.grpc, voices_to_warm(settings.served_model))[1]
            print(f"ready after {seconds:.1f} s, gRPC on {server.urls.grpc}")
            speak(server.urls.grpc, args.text, args.out)
    except (TritoneError, SpeechError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("next: `make serve` in one terminal, `make say TEXT='...'` in another")
    return 0


if __name__ == "__main__":
    sys.exit(main())
