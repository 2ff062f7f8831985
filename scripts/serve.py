"""Serve Tritone's models with Triton Inference Server until interrupted.

    python scripts/serve.py --model checkpoints/my-voice --profile cpu
    python scripts/serve.py --model models/cosyvoice2 --profile gpu

Exit status: 0 ended by the server itself or interrupted, 1 the server failed, 2 it could not start.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import get_args

from tritone.errors import TritoneError
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.launch import termination_as_exit
from tritone.launcher.settings import Profile, default_cache_dir
from tritone.launcher.warm_up import voices_to_warm, warm_up

PROJECT = Path(__file__).resolve().parents[1]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/serve.py", description="Serve Tritone's models with Triton Inference Server."
    )
    model = os.environ.get("TRITONE_MODEL") or None
    parser.add_argument(
        "--model", type=Path, default=model, help="model directory ($TRITONE_MODEL, embedded voice)"
    )
    parser.add_argument(
        "--profile",
        choices=get_args(Profile),
        default="cpu",
        help="what serves the language model: ONNX Runtime on the CPU (the default); on a GPU "
        "TensorRT-LLM's Executor (gpu), torch (gpu-torch), the LLM API of TensorRT-LLM 1.x "
        "(gpu-llmapi) or NVIDIA's C++ backend (gpu-backend)",
    )
    parser.add_argument("--model-repository", type=Path, default=PROJECT / "model_repo")
    parser.add_argument("--threads", type=int, help="threads of each model process (1)")
    parser.add_argument(
        "--warm-up",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="speak a word in registered voices before saying ready",
    )
    parser.add_argument("--start-timeout", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--exit-timeout-secs", type=int, default=30, metavar="SECONDS")
    network = parser.add_argument_group("network")
    network.add_argument("--address", default="127.0.0.1", help="0.0.0.0 serves other machines too")
    network.add_argument("--port-base", type=int, default=8000, help="HTTP; gRPC is +1, metrics +2")
    for service in ("http", "grpc", "metrics"):
        network.add_argument(f"--{service}-port", type=int)
    files = parser.add_argument_group("files and logs")
    files.add_argument("--wheel-dir", type=Path, default=PROJECT / ".triton")
    files.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    files.add_argument("--log-file", type=Path, help="the server's own log (below --cache-dir)")
    files.add_argument("--echo-log", action="store_true", help="the server's log on stderr too")
    files.add_argument("--log-verbose", type=int, default=0, metavar="LEVEL")
    parser.add_argument("arguments", nargs="*", help="after --: further arguments of tritonserver")
    return parser


def settings_from(options: argparse.Namespace) -> ServerSettings:
    base = options.port_base
    return ServerSettings(
        model_repository=options.model_repository,
        wheel_dir=options.wheel_dir,
        profile=options.profile,
        model_dir=options.model,
        address=options.address,
        http_port=base if options.http_port is None else options.http_port,
        grpc_port=base + 1 if options.grpc_port is None else options.grpc_port,
        metrics_port=base + 2 if options.metrics_port is None else options.metrics_port,
        threads=options.threads,
        start_timeout_s=options.start_timeout,
        exit_timeout_s=options.exit_timeout_secs,
        verbosity=options.log_verbose,
        cache_dir=options.cache_dir,
        log_file=options.log_file,
        echo_log=options.echo_log,
        arguments=tuple(options.arguments),
    )


def serve(settings: ServerSettings, *, warm: bool) -> int:
    """Run the server until it ends or a signal unwinds this function; `warm`: warmed up first."""
    with TritonServer(settings) as server:
        print(f"starting; the log is {settings.log_path}", flush=True)
        seconds = server.wait_ready()
        urls = server.urls
        if warm:
            voices, took = warm_up(urls.grpc, voices_to_warm(settings.served_model))
            seconds += took
            if voices:
                print(f"warmed up in {took:.1f} s: {', '.join(voices)}", flush=True)
        print(
            f"ready after {seconds:.1f} s\n"
            f"gRPC {urls.grpc}, HTTP {urls.http}, metrics {urls.metrics}\n"
            f'say something: python -m client.say --url {urls.grpc} "Hello there." -o hello.wav',
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


def main() -> int:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    options = build_parser().parse_args()
    try:
        with termination_as_exit():
            return serve(settings_from(options), warm=options.warm_up)
    except TritoneError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
