"""tritone serve: the server, until it is interrupted."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.cli.gateway_beside import Beside, Gateway
from tritone.config import Envelope
from tritone.diagnostics.doctor.checks.machine.capacity import available_memory
from tritone.errors import ModelDirectoryError
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.golden import Sample, Spoken
from tritone.launcher.health import HealthLimits
from tritone.launcher.launch import termination_as_exit
from tritone.launcher.speaker import speaker
from tritone.launcher.standby import Standby
from tritone.launcher.supervisor import End, Supervisor
from tritone.launcher.tls import ServerTls
from tritone.launcher.warm_up import voices_to_warm, warm_up

Port = Annotated[int | None, typer.Option(help="in place of --port-base")]
Golden = Annotated[
    bool, typer.Option(help="refuse to be ready unless the golden sample sounds as it should")
]
WarmUp = Annotated[bool, typer.Option(help="speak a word in registered voices before saying ready")]
StartTimeout = Annotated[float, typer.Option(metavar="SECONDS", help="for loading the models")]
ExitTimeout = Annotated[int, typer.Option(metavar="SECONDS", help="for running utterances to end")]
Restarts = Annotated[int, typer.Option(metavar="COUNT", help="of what failed; 0: unlimited")]
MemoryLimit = Annotated[int, typer.Option(metavar="MB", help="of a model's process; 0: unlimited")]
Stall = Annotated[float, typer.Option(metavar="SECONDS", help="without progress; 0: unlimited")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="MODEL.NAME=VALUE", help="in place of a config.pbtxt's; often"),
]
StandBy = Annotated[bool, typer.Option("--standby", help="a second, warm server takes over")]
LogFile = Annotated[Path | None, typer.Option(help="the server's own log (below --cache-dir)")]
TlsCert = Annotated[Path | None, typer.Option(help="PEM: gRPC speaks TLS with this certificate")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM: its key, without a passphrase")]
ClientCa = Annotated[
    Path | None, typer.Option(help="PEM: clients need a certificate of this authority")
]
WithGateway = Annotated[bool, typer.Option(help="OpenAI's API beside the server")]
GatewayPort = Annotated[int | None, typer.Option(help="80 above --port-base or --http-port")]
GatewayAddress = Annotated[str, typer.Option(help="0.0.0.0 serves other machines, who need keys")]
AdminKeyFile = Annotated[Path | None, typer.Option(help="key of the administrative protocols")]
OpenInner = Annotated[
    bool, typer.Option("--open-inner-models", help="clients may call the models behind it too")
]
Unary = Annotated[str, typer.Option(metavar="NAME", help="of the model that does not stream")]
LogText = Annotated[bool, typer.Option("--log-text", help="the log may quote what clients send")]
EchoLog = Annotated[bool, typer.Option("--echo-log", help="the server's log on stderr too")]


def serve(
    model: options.Model = None,
    voices: options.Voices = None,
    profile: options.Runtime = "cpu",
    model_repository: Annotated[Path, typer.Option(help="Triton's models")] = options.MODELS,
    threads: Annotated[int | None, typer.Option(help="threads of each model process (1)")] = None,
    warm_up: WarmUp = True,
    golden: Golden = True,
    start_timeout: StartTimeout = 300.0,
    exit_timeout_secs: ExitTimeout = 30,
    restarts_per_hour: Restarts = 20,
    memory_limit_mb: MemoryLimit = 0,
    stall_seconds: Stall = 120.0,
    standby: StandBy = False,
    changed: Set = None,
    address: options.Address = "127.0.0.1",
    port_base: options.PortBase = 8000,
    http_address: options.HttpAddress = None,
    http_port: Port = None,
    grpc_port: Port = None,
    metrics_port: Port = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: ClientCa = None,
    gateway: WithGateway = True,
    gateway_port: GatewayPort = None,
    gateway_address: GatewayAddress = "127.0.0.1",
    gateway_keys: options.Keys = None,
    admin_key_file: AdminKeyFile = None,
    open_inner_models: OpenInner = False,
    unary: Unary = "",
    wheel_dir: options.WheelDir = options.TRITON,
    cache_dir: options.CacheDir = options.CACHE,
    log_file: LogFile = None,
    echo_log: EchoLog = False,
    log_text: LogText = False,
    log_verbose: Annotated[int, typer.Option(metavar="LEVEL")] = 0,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="more for tritonserver")
    ] = None,
) -> int:
    """Serve Tritone's models with Triton Inference Server until interrupted.

    Exit status: 0 ended on request, 1 the server failed and was not started
    again, 2 it could not start, 3 it started and did not speak the golden
    sample as it should.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        tls, parameters = _tls(tls_cert, tls_key, tls_client_ca), _parameters(changed or [])
    except ValueError as error:
        return refused(error)
    settings = ServerSettings(
        model_repository=model_repository,
        wheel_dir=wheel_dir,
        profile=profile,
        model_dir=model,
        voices_dir=voices,
        address=address,
        http_address=http_address,
        tls=tls,
        admin_key_file=admin_key_file,
        open_inner_models=open_inner_models,
        unary=unary,
        log_text=log_text,
        http_port=port_base if http_port is None else http_port,
        grpc_port=port_base + 1 if grpc_port is None else grpc_port,
        metrics_port=port_base + 2 if metrics_port is None else metrics_port,
        threads=threads,
        start_timeout_s=start_timeout,
        exit_timeout_s=exit_timeout_secs,
        health=HealthLimits(memory_limit_mb, stall_seconds),
        restarts_per_hour=restarts_per_hour,
        verbosity=log_verbose,
        cache_dir=cache_dir,
        log_file=log_file,
        echo_log=echo_log,
        parameters=parameters,
        arguments=tuple(arguments or ()),
    )
    beside = Beside(gateway, gateway_port, gateway_address, gateway_keys)
    try:
        return run_server(
            settings, warm=warm_up, golden=golden, standby=standby, gateway=beside.of(settings)
        )
    except KeyboardInterrupt:
        return 0


def _tls(cert: Path | None, key: Path | None, client_ca: Path | None) -> ServerTls | None:
    if cert and key:
        return ServerTls(cert, key, client_ca)
    if cert or key:
        raise ValueError("--tls-cert and --tls-key belong together; give both or neither")
    if client_ca:
        raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
    return None


def _parameters(changed: Sequence[str]) -> dict[str, dict[str, str]]:
    """Model -> name -> value."""
    found: dict[str, dict[str, str]] = {}
    for text in changed:
        name, equals, value = text.partition("=")
        model, dot, parameter = name.partition(".")
        if not (equals and dot and model and parameter):
            raise ValueError(f"--set {text}: expected MODEL.NAME=VALUE")
        found.setdefault(model, {})[parameter] = value
    return found


class _NotGolden(Exception):
    """What a server said is not speech as it should be."""


def run_server(
    settings: ServerSettings, *, warm: bool, golden: bool, standby: bool, gateway: Gateway
) -> int:
    """Run the server until it ends or a signal unwinds this function. warm, golden: whether it is
    warmed up, and heard, before it is called ready. standby: a second one stands by.
    gateway: beside it, from when its models are loaded until it has ended."""
    voices = voices_to_warm(settings.served_model)
    sample = Sample.of(settings.served_model, voices[-1] if voices else None) if golden else None
    # the sample warms its own voice
    voices = [name for name in voices if warm and not (sample and name == sample.voice)]

    def prepare(server: TritonServer) -> float:
        gateway.begin()
        if not (voices or sample):
            return 0.0
        rate = Envelope.read(settings.served_model).sample_rate
        try:
            return prepared(speaker(server.urls.http, settings.public, rate), voices, sample)
        except ModelDirectoryError as error:
            raise _NotGolden(str(error)) from error

    def announce(seconds: float) -> None:
        urls = settings.urls
        lines = (
            f"ready after {seconds:.1f} s",
            f"gRPC {urls.grpc}, HTTP {urls.http}, metrics {urls.metrics}",
            gateway.told(),
            f"say something: {_say_command(urls.grpc, settings.tls)}",
        )
        print(*filter(None, lines), sep="\n", flush=True)

    with termination_as_exit(0):  # what was asked for is no failure
        print(f"starting; the log is {settings.log_path}", flush=True)
        try:
            if standby:
                end = Standby(settings, prepare, announce, lambda: available_memory()[0]).run()
            else:
                ready = lambda server, seconds: announce(seconds + prepare(server))  # noqa: E731
                end = Supervisor(settings, ready).run()
        except _NotGolden as error:
            return refused(error, 3)
        finally:
            gateway.end()
    return 0 if end is End.ENDED else 1


def prepared(speak: Callable[..., Spoken], voices: Sequence[str], sample: Sample | None) -> float:
    """Have a server speak a word in each voice, then the sample; the seconds that it took.

    Raises TritoneError where the sample is not what it should be.
    """
    began = time.monotonic()
    warm, took = warm_up(speak, voices)
    if warm:
        print(f"warmed up in {took:.1f} s: {', '.join(warm)}", flush=True)
    if sample:
        sample.examine(speak)
        print(f"heard the golden sample, in the voice {sample.voice}", flush=True)
    return time.monotonic() - began


def _say_command(url: str, tls: ServerTls | None) -> str:
    files = "" if tls is None else " --ca FILE"
    if tls is not None and tls.client_ca is not None:
        files += " --cert FILE --key FILE"
    return f'tritone say --url {url}{files} "Hello there." -o hello.wav'
