"""Does the language model's server stop producing tokens after the first streamed request?

    python -m benchmarks.backend_stall --model models/cosyvoice2
    python -m benchmarks.backend_stall --model models/cosyvoice2 --profile gpu

Users of NVIDIA's C++ backend in decoupled mode report that it does, with images of TensorRT-LLM
0.18 and 0.20 (CosyVoice issue 1866, tensorrtllm_backend issue 651). This starts the server with a
profile and sends streaming requests straight to the model `tensorrt_llm`, each of which must give
exactly --tokens tokens within --limit seconds: about a minute, most of it loading. The same
requests go to every profile, so only what serves them differs. --profile cpu needs no GPU.

Exit status: 0 every request was complete, 1 a later request stalled, 2 the server did not start or
not even the first request was complete, which is another problem.
"""

import argparse
import os
import queue
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

from benchmarks.full_size import AnyConfig
from tritone import resources
from tritone.arrays import Float32
from tritone.errors import TritoneError
from tritone.families import open_model
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.launcher.settings import Profile
from tritone.launcher.termination import termination_as_exit
from tritone.llm.checkpoint import logit_bias
from tritone.llm.contract import GenerationRequest, Prompt, SamplingParams
from tritone.serving.generation_tensors import OUTPUTS, generation_tensors
from tritone.triton_models import INNER_PARAMETER
from tritone.variables import INNER_KEY_VARIABLE

MODEL = "tensorrt_llm"
PROMPT_IDS = 24


@dataclass(frozen=True)
class Outcome:
    """What came back for one request. first_s: to the first token, None without one."""

    tokens: int
    first_s: float | None
    total_s: float
    problem: str


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backend_stall",
        description="Do streamed requests to the language model stall after the first one?",
    )
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--profile", choices=get_args(Profile), default="gpu-backend")
    parser.add_argument("--url", help="gRPC address of a server that runs already; starts none")
    parser.add_argument("--requests", type=positive, default=6, help="one after the other (6)")
    parser.add_argument("--together", type=positive, default=4, help="then this many at once (4)")
    parser.add_argument(
        "--tokens", type=positive, default=100, help="of each request (100: 4 s speech)"
    )
    parser.add_argument("--limit", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--start-timeout", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--model-repository", type=Path, default=resources.model_repository())
    parser.add_argument("--wheel-dir", type=Path, default=resources.triton_folder())
    parser.add_argument("--cache-dir", type=Path, default=resources.default_cache_dir())
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def make_request(config: AnyConfig, tokens: int, seed: int) -> GenerationRequest:
    """A prompt of random text, and a minimum that forbids the regular end before the last token."""
    llm = config.llm
    text = np.random.default_rng(seed).integers(0, llm.speech_offset, PROMPT_IDS)
    ids = np.concatenate([[llm.sos_id], text, [llm.task_id]]).astype(np.int32)
    return GenerationRequest(Prompt(ids), tokens, tokens, SamplingParams(seed=seed))


def run_request(url: str, config: AnyConfig, bias: Float32, options: Any, seed: int) -> Outcome:
    """Send one request on a stream of its own and read until its end, or until time is over."""
    inputs = []
    request = make_request(config, options.tokens, seed)
    for name, array in generation_tensors(request, config, bias).items():
        inputs.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    key = os.environ.get(INNER_KEY_VARIABLE)  # of a server at --url that is closed
    with triton.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(
            MODEL,
            inputs,
            request_id=str(secrets.randbits(63) | 1),
            outputs=[triton.InferRequestedOutput(name) for name in OUTPUTS],
            enable_empty_final_response=True,
            parameters={INNER_PARAMETER: key} if key else None,
        )
        try:
            return read_answers(answers, config, options)
        finally:
            client.stop_stream(cancel_requests=True)


def read_answers(
    answers: "queue.SimpleQueue[tuple[Any, Any]]", config: AnyConfig, options: Any
) -> Outcome:
    """Count the speech tokens until the final response."""
    started = time.monotonic()
    tokens, first, final, problem = 0, None, False, ""
    while not final and not problem:
        try:
            left = options.limit - (time.monotonic() - started)
            result, error = answers.get(timeout=max(left, 0.001))
        except queue.Empty:
            problem = f"no end within {options.limit:g} s"
            break
        if error is not None:
            problem = str(error)
            break
        ids = result.as_numpy("output_ids")
        if ids is not None:
            tokens += int(((ids >= 0) & ~np.isin(ids, config.llm.stop_ids)).sum())
        if tokens and first is None:
            first = time.monotonic() - started
        final = result.get_response().parameters["triton_final_response"].bool_param
    if final and tokens < options.tokens:
        problem = f"ended after {tokens} of {options.tokens} tokens"
    return Outcome(tokens, first, time.monotonic() - started, problem)


def show(name: str, outcome: Outcome) -> None:
    first = "     -" if outcome.first_s is None else f"{1e3 * outcome.first_s:6.0f}"
    state = outcome.problem or "complete"
    print(f"{name:>10} {outcome.tokens:>6} {first:>9} {outcome.total_s:>7.2f}  {state}", flush=True)


def try_requests(url: str, options: argparse.Namespace) -> int:
    """Send the requests, print a line for each, and return the exit status."""
    config = open_model(options.model).config
    bias = logit_bias(options.model, config.llm)
    print(f"{'request':>10} {'tokens':>6} {'first ms':>9} {'s':>7}  state")
    outcomes = []
    for number in range(options.requests):
        outcomes.append(run_request(url, config, bias, options, number))
        show(str(number + 1), outcomes[-1])
    numbers = range(options.requests, options.requests + options.together)
    with ThreadPoolExecutor(options.together) as pool:
        together = list(
            pool.map(lambda number: run_request(url, config, bias, options, number), numbers)
        )
    for number, outcome in zip(numbers, together, strict=True):
        show(f"{number + 1} at once", outcome)
    return judge([*outcomes, *together])


def judge(outcomes: list[Outcome]) -> int:
    """The exit status for what came back, said in words."""
    stalled = sum(bool(outcome.problem) for outcome in outcomes)
    if outcomes[0].problem:
        print(
            "not even the first request was complete: see the server's log for the cause",
            file=sys.stderr,
        )
        return 2
    if stalled:
        print(
            f"the stall is there: {stalled} of {len(outcomes)} requests were incomplete although "
            "the first was not; serve with --profile gpu"
        )
        return 1
    print(f"no stall: all {len(outcomes)} requests were complete")
    return 0


def settings_from(options: argparse.Namespace) -> ServerSettings:
    http, grpc, metrics = free_ports()
    return ServerSettings(
        options.model_repository,
        options.wheel_dir,
        profile=options.profile,
        model_dir=options.model,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        start_timeout_s=options.start_timeout,
        exit_timeout_s=5,
        cache_dir=options.cache_dir,
        open_inner_models=True,
    )


def main() -> int:
    options = build_parser().parse_args()
    try:
        if options.url:
            return try_requests(options.url, options)
        with termination_as_exit(), TritonServer(settings_from(options)) as server:
            print(f"starting with profile {options.profile}; the log is {server.settings.log_path}")
            print(f"ready after {server.wait_ready():.1f} s", flush=True)
            return try_requests(server.urls.grpc, options)
    except TritoneError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
