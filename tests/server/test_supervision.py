"""The real server when the processes of its models die."""

import signal
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from metrics_scrape import Scrape, text_of
from serving import GAUGES, LONG, LONGEST, is_speech
from supervised import SEEDED, Supervised, ends, spoken_again
from tritonclient.grpc import service_pb2_grpc
from waiting import wait_until

from tritone_client import SpeechClient, Utterance
from tritone_client.request import infer_request

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    running = Supervised(tmp_path_factory.mktemp("supervised"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def speaking(supervised: Supervised) -> Iterator[SpeechClient]:
    with SpeechClient(supervised.url) as client:
        yield client


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("frontend", signal.SIGKILL),
        ("tensorrt_llm", signal.SIGKILL),
        ("token2wav", signal.SIGKILL),
        ("vocoder", signal.SIGKILL),
        ("token2wav", signal.SIGSTOP),
    ],
)
def test_a_lost_model_is_named_and_replaced(
    supervised: Supervised, speaking: SpeechClient, model: str, number: int
) -> None:
    before, starts = speaking.speak(SEEDED), supervised.count("ready after ")
    text = LONG if model == "frontend" else LONGEST  # some are spoken to their end
    for problem in ends(speaking, lambda: supervised.kill(model, number), text):
        named = f"{model}: its process ended" in problem or f"{model} is being started" in problem
        # whose text has been read needs no front end, and who waits for no token no language model
        assert named or (model in ("frontend", "tensorrt_llm") and not problem)
    assert np.array_equal(spoken_again(supervised), before)
    assert supervised.count("ready after ") == starts, "in place"
    scrape = lambda: Scrape(text_of(supervised.metrics))  # noqa: E731
    wait_until(lambda: not any(scrape()[name] for name in GAUGES))


def test_a_lost_unary_model_is_replaced_and_its_callers_streams_end(
    supervised: Supervised,
) -> None:
    starts, said = supervised.count("ready after "), Utterance(LONGEST, seed=3)
    request = infer_request(said, "cosyvoice2_unary")
    streams = lambda: Scrape(text_of(supervised.metrics))["tritone_streams"]  # noqa: E731
    with grpc.insecure_channel(supervised.url) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        call = infer.future(request)
        wait_until(lambda: streams() == 1)
        supervised.kill("cosyvoice2_unary")
        wait_until(lambda: streams() == 0)
        call.cancel()  # Triton 2.51 would never tell it

        def answered() -> bool:
            try:
                infer(infer_request(SEEDED, "cosyvoice2_unary"))
            except grpc.RpcError:
                return False
            return True

        wait_until(answered)
    assert supervised.count("ready after ") == starts, "in place"


def test_without_the_public_model_the_server_is_replaced(
    supervised: Supervised, speaking: SpeechClient
) -> None:
    starts = supervised.count("ready after ")
    for problem in ends(speaking, lambda: supervised.kill("cosyvoice2")):
        assert problem.startswith("UNAVAILABLE")
    wait_until(lambda: supervised.count("ready after ") > starts)
    assert is_speech(spoken_again(supervised))
