"""tritone serve: the server, until it is interrupted."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.errors import EnvironmentProblem, StageFailed, TritoneError
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.golden import Sample, Spoken
from tritone.launcher.launch import termination_as_exit
from tritone.launcher.warm_up import voices_to_warm, warm_up
from tritone_client import SpeechClient, SpeechError, Utterance

Port = Annotated[int | None, typer.Option(help="in place of --port-base")]
Golden = Annotated[
    bool, typer.Option(help="refuse to be ready unless the golden sample sounds as it should")
]
WarmUp = Annotated[bool, typer.Option(help="speak a word in registered voices before saying ready")]
StartTimeout = Annotated[float, typer.Option(metavar="SECONDS", help="for loading the models")]
ExitTimeout = Annotated[int, typer.Option(metavar="SECONDS", help="for running utterances to end")]
LogFile = Annotated[Path | None, typer.Option(help="the server's own log (below --cache-dir)")]
EchoLog = Annotated[bool, typer.Option("--echo-log", help="the server's log on stderr too")]


def serve(
    model: options.Model = None,
    profile: options.Runtime = "cpu",
    model_repository: Annotated[Path, typer.Option(help="Triton's models")] = options.MODELS,
    threads: Annotated[int | None, typer.Option(help="threads of each model process (1)")] = None,
    warm_up: WarmUp = True,
    golden: Golden = True,
    start_timeout: StartTimeout = 300.0,
    exit_timeout_secs: ExitTimeout = 30,
    address: options.Address = "127.0.0.1",
    port_base: options.PortBase = 8000,
    http_port: Port = None,
    grpc_port: Port = None,
    metrics_port: Port = None,
    wheel_dir: options.WheelDir = options.TRITON,
    cache_dir: options.CacheDir = options.CACHE,
    log_file: LogFile = None,
    echo_log: EchoLog = False,
    log_verbose: Annotated[int, typer.Option(metavar="LEVEL")] = 0,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="more for tritonserver")
    ] = None,
) -> int:
    """Serve Tritone's models with Triton Inference Server until interrupted.

    Exit status: 0 ended by the server itself or interrupted, 1 the server
    failed, 2 it could not start, 3 it started and did not speak the golden
    sample as it should.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    settings = ServerSettings(
        model_repository=model_repository,
        wheel_dir=wheel_dir,
        profile=profile,
        model_dir=model,
        address=address,
        http_port=port_base if http_port is None else http_port,
        grpc_port=port_base + 1 if grpc_port is None else grpc_port,
        metrics_port=port_base + 2 if metrics_port is None else metrics_port,
        threads=threads,
        start_timeout_s=start_timeout,
        exit_timeout_s=exit_timeout_secs,
        verbosity=log_verbose,
        cache_dir=cache_dir,
        log_file=log_file,
        echo_log=echo_log,
        arguments=tuple(arguments or ()),
    )
    try:
        return run_server(settings, warm=warm_up, golden=golden)
    except KeyboardInterrupt:
        return 0


def run_server(settings: ServerSettings, *, warm: bool, golden: bool) -> int:
    """Run the server until it ends or a signal unwinds this function. warm, golden: whether it is
    warmed up, and heard, before it is called ready."""
    voices = voices_to_warm(settings.served_model)
    sample = Sample.of(settings.served_model, voices[-1] if voices else None) if golden else None
    # the sample warms its own voice
    voices = [name for name in voices if warm and not (sample and name == sample.voice)]
    with termination_as_exit(), TritonServer(settings) as server:
        print(f"starting; the log is {settings.log_path}", flush=True)
        seconds = server.wait_ready()
        urls = server.urls
        try:
            seconds += prepared(urls.grpc, voices, sample)
        except TritoneError as error:
            return refused(error, 3)
        print(
            f"ready after {seconds:.1f} s\n"
            f"gRPC {urls.grpc}, HTTP {urls.http}, metrics {urls.metrics}\n"
            f'say something: tritone say --url {urls.grpc} "Hello there." -o hello.wav',
            flush=True,
        )
        status = server.wait()
        if status != 0:
            print(
                f"the server ended with status {status}; last lines of {settings.log_path}:\n"
                f"{server.log_tail()}",
                file=sys.stderr,
            )
    return 0 if status == 0 else 1


def prepared(grpc_url: str, voices: Sequence[str], sample: Sample | None) -> float:
    """Have a server speak a word in each voice, then the sample; the seconds that it took.

    Raises TritoneError where the sample is not what it should be.
    """
    began = time.monotonic()
    with speaker(grpc_url) as speak:
        warm, took = warm_up(speak, voices)
        if warm:
            print(f"warmed up in {took:.1f} s: {', '.join(warm)}", flush=True)
        if sample:
            sample.examine(speak)
            print(f"heard the golden sample, in the voice {sample.voice}", flush=True)
    return time.monotonic() - began


@contextmanager
def speaker(grpc_url: str) -> Iterator[Callable[..., Spoken]]:
    """What `warm_up` and `examine` speak with."""
    with SpeechClient(grpc_url) as client:

        def speak(text: str, voice: str, top_k: int | None = None) -> Spoken:
            wanted = Utterance(text, voice=voice, seed=1, top_k=top_k)
            try:
                packets = list(client.packets(wanted, timeout=60.0, timing=True))
                samples = np.concatenate([packet.samples for packet in packets])
                record = packets[-1].timing or {}
                return Spoken(samples, client.sample_rate, record.get("flaws", {}))
            except SpeechError as error:
                if error.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    raise EnvironmentProblem(str(error)) from error
                raise StageFailed(client.model, str(error)) from error

        yield speak
