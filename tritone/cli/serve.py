"""tritone serve: the server, until it is interrupted."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from tritone.cli.command import refused
from tritone.cli.gateway_beside import Beside, Gateway
from tritone.cli.serve_options import Files, Life, Listening, Rights, Served, Set, parameters
from tritone.config import Envelope
from tritone.diagnostics.doctor.checks.machine.capacity import available_memory
from tritone.errors import ModelDirectoryError
from tritone.families import open_model
from tritone.families.memory_check import check_memory
from tritone.families.shapes_check import check_shapes_apart
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.golden import Sample, Spoken
from tritone.launcher.health import HealthLimits
from tritone.launcher.profiles import language_model_parameters
from tritone.launcher.speaker import speaker
from tritone.launcher.standby import Standby
from tritone.launcher.supervisor import End, Supervisor
from tritone.launcher.termination import termination_as_exit
from tritone.launcher.tls import ServerTls
from tritone.launcher.warm_up import voices_to_warm, warm_up
from tritone.serving.remote_settings import RemoteSettings
from tritone.triton_models import LANGUAGE_MODEL

Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="more for tritonserver")
]


def serve(
    served: Served,
    life: Life,
    listening: Listening,
    beside: Beside,
    rights: Rights,
    files: Files,
    changed: Set = None,
    arguments: Arguments = None,
) -> int:
    """Serve Tritone's models with Triton Inference Server until interrupted.

    Exit status: 0 ended on request, 1 the server failed and was not started
    again, 2 it could not start, 3 it started and did not speak the golden
    sample as it should.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        tls, given = listening.tls, parameters(changed or (), served.preset)
    except ValueError as error:
        return refused(error)
    settings = replace(
        _settings(served, life, listening, rights, files),
        tls=tls,
        parameters=given,
        arguments=tuple(arguments or ()),
    )
    try:
        with termination_as_exit(0):
            _check_model(settings)
        return run_server(
            settings,
            warm=life.warm_up,
            golden=life.golden,
            standby=life.standby,
            gateway=beside.of(settings),
        )
    except KeyboardInterrupt:
        return 0


def _settings(
    served: Served, life: Life, listening: Listening, rights: Rights, files: Files
) -> ServerSettings:
    http, grpc, metrics = listening.ports
    return ServerSettings(
        model_repository=served.model_repository,
        wheel_dir=files.wheel_dir,
        profile=served.profile,
        model_dir=served.model,
        voices_dir=served.voices,
        address=listening.address,
        http_address=listening.http_address,
        admin_key_file=rights.admin_key_file,
        open_inner_models=rights.open_inner_models,
        inner_key_file=rights.inner_key_file,
        unary=rights.unary,
        log_text=files.log_text,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        threads=served.threads,
        start_timeout_s=life.start_timeout,
        exit_timeout_s=life.exit_timeout_secs,
        health=HealthLimits(life.memory_limit_mb, life.stall_seconds),
        restarts_per_hour=life.restarts_per_hour,
        verbosity=files.log_verbose,
        cache_dir=files.cache_dir,
        log_file=files.log_file,
        echo_log=files.echo_log,
    )


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
        print(*_announcement(settings, gateway, seconds), sep="\n", flush=True)

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


def _check_model(settings: ServerSettings) -> None:
    """Raises TritoneError before anything is started. Of a model directory that cannot be opened
    the models will say what is wrong."""
    try:
        model = open_model(settings.served_model)
    except ModelDirectoryError:
        return
    language_model = language_model_parameters(settings)
    if language_model.get("url"):
        RemoteSettings.of(language_model, settings.parameters.get(LANGUAGE_MODEL, {})).check()
    check_memory(model, settings.profile, language_model)
    check_shapes_apart(model)


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


def _announcement(settings: ServerSettings, gateway: Gateway, seconds: float) -> Iterator[str]:
    """What is said once the server is ready."""
    urls = settings.urls
    yield f"ready after {seconds:.1f} s"
    yield f"gRPC {urls.grpc}, HTTP {urls.http}, metrics {urls.metrics}"
    if told := gateway.told():
        yield told
    yield f"say something: {_say_command(urls.grpc, settings.tls)}"


def _say_command(url: str, tls: ServerTls | None) -> str:
    files = "" if tls is None else " --ca FILE"
    if tls is not None and tls.client_ca is not None:
        files += " --cert FILE --key FILE"
    return f'tritone say --url {url}{files} "Hello there." -o hello.wav'
