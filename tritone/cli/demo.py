"""tritone demo: start a server, speak one text through it into a file, stop the server."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tritone.cli.command import refused
from tritone.cli.options import Model, Preset
from tritone.cli.serve_options import parameters
from tritone.config import Envelope
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.gateway.settings import GatewaySettings
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.launcher.speaker import speaker
from tritone.launcher.warm_up import voices_to_warm, warm_up
from tritone_client import SpeechClient, SpeechError, StreamMeter, Utterance
from tritone_client.output import open_writer


def demo(
    text: Annotated[str, typer.Argument(help="what to say")],
    model: Model = None,
    preset: Preset = "exact",
    out: Annotated[Path, typer.Option(help="the sound file")] = Path("out/demo.wav"),
) -> int:
    """Start a server, speak one text through it into a file, stop it."""
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        model_dir=model and model.resolve(),
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        parameters=parameters((), preset),
    )
    try:
        check_writable(out)
        with TritonServer(settings) as server:
            print("starting Triton and its models", flush=True)
            seconds = server.wait_ready()
            rate = Envelope.read(settings.served_model).sample_rate
            speak_word = speaker(server.urls.http, settings.public, rate)
            seconds += warm_up(speak_word, voices_to_warm(settings.served_model))[1]
            print(f"ready after {seconds:.1f} s, gRPC on {server.urls.grpc}")
            speak(server.urls.grpc, text, out)
    except (TritoneError, SpeechError) as error:
        return refused(error, 1)
    print("next: `make serve` in one terminal, `make say TEXT='...'` in another")
    print(f"or listen in a browser: `tritone serve`, then {GatewaySettings().url}/")
    return 0


def check_writable(out: Path) -> None:
    """Raise EnvironmentProblem where the sound file cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as error:
        raise EnvironmentProblem(
            f"{out} cannot be written ({error.strerror}); name another file with --out, or a "
            "folder with make demo OUT=FOLDER"
        ) from error


def speak(url: str, text: str, out: Path) -> None:
    """Stream one utterance to a file, with a line for each packet as it comes."""
    with SpeechClient(url) as client:
        rate = client.sample_rate
        meter = StreamMeter(rate)
        with closing(open_writer(str(out), rate)) as writer:
            for samples in client.stream(Utterance(text)):
                meter.packet(samples)
                writer.write(samples)
                print(f"  packet of {len(samples) / rate:.2f} s", flush=True)
    metrics = meter.finish()
    print(
        f"{out}: {metrics.audio_s:.2f} s of speech in {metrics.total_s:.2f} s, "
        f"first packet after {metrics.first_packet_s:.2f} s"
    )
