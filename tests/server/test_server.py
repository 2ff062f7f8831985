"""The five models on the real Triton server, driven by the real clients."""

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
import upstream_client
from serving import (
    GAUGES,
    LONG,
    LONGEST,
    RATE,
    SENTENCE,
    SHORT,
    STAGES,
    cancelled,
    gauges,
    is_speech,
    reference,
    tensors,
    wait_until_free,
)
from waiting import HANG_S, wait_until

from tritone.frontend.audio.sketch import Sketch
from tritone.launcher import TritonServer
from tritone.triton_models import INNER_PARAMETER
from tritone_client import AsyncSpeechClient, SpeechClient, Utterance

pytestmark = pytest.mark.server
MOST = 2000
"""Tokens for which the model has positions."""


def test_streaming_gives_packets_of_speech(client: SpeechClient) -> None:
    packets = list(client.packets(Utterance(SENTENCE), timing=True))
    samples = np.concatenate([packet.samples for packet in packets])
    assert len(packets) >= 2 and all(len(packet.samples) for packet in packets)
    assert is_speech(samples)
    timing = packets[-1].timing
    assert timing["tokens"] * 960 == len(samples) == round(timing["audio_s"] * RATE)
    assert timing["packets"] == len(packets) and timing["segments"] == 1
    assert timing["first_packet_s"] <= timing["total_s"]
    assert timing["outcome"] == "ok" and timing["id"]


def test_whole_utterance_is_one_packet_of_the_same_length(client: SpeechClient) -> None:
    streamed = client.speak(Utterance(SENTENCE))
    whole = list(client.packets(Utterance(SENTENCE, streaming=False)))
    assert len(whole) == 1 and len(whole[0].samples) == len(streamed)
    assert is_speech(whole[0].samples)


def test_same_seed_gives_the_same_audio(client: SpeechClient) -> None:
    utterance = Utterance(SHORT, seed=3, temperature=1.0, top_k=25, top_p=0.8)
    first, second = client.speak(utterance), client.speak(utterance)
    other = client.speak(Utterance(SHORT, seed=4, temperature=1.0, top_k=25, top_p=0.8))
    np.testing.assert_array_equal(first, second)
    assert len(other) != len(first) or not np.array_equal(other, first)


def test_speed_changes_the_duration(client: SpeechClient) -> None:
    usual, fast = (client.speak(Utterance(SENTENCE, speed=s)) for s in (1.0, 1.5))
    assert len(fast) == pytest.approx(len(usual) / 1.5, abs=2 * 480)
    assert is_speech(fast)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("transcript", [None, "Some words."])
def test_reference_recording_is_followed(
    client: SpeechClient, rate: int, transcript: str | None
) -> None:
    utterance = Utterance(
        SHORT,
        reference_wav=reference(rate=rate),
        reference_rate=rate,
        reference_text=transcript,
        seed=0,
    )
    first, again = client.speak(utterance), client.speak(utterance)
    assert np.isfinite(first).all() and len(first) >= RATE // 5
    np.testing.assert_array_equal(first, again)  # the second comes from the voice cache


def test_registered_voice_is_chosen_by_name(client: SpeechClient) -> None:
    default = client.speak(Utterance(SHORT, seed=1))
    named = client.speak(Utterance(SHORT, seed=1, voice="heart"))
    other = client.speak(Utterance(SHORT, seed=1, voice="joe"))
    np.testing.assert_array_equal(default, named)
    assert is_speech(other) and not np.array_equal(other, default)


def test_client_of_the_upstream_runtime_works_unchanged(server: TritonServer) -> None:
    chunks = upstream_client.speak(server.urls.grpc, reference(2.0), "Some words.", SENTENCE)
    assert chunks and all(chunk.dtype == np.float32 and chunk.size for chunk in chunks)
    assert np.isfinite(np.concatenate(chunks)).all()


def test_asyncio_client_streams_the_same(server: TritonServer, client: SpeechClient) -> None:
    async def speak() -> np.ndarray:
        async with AsyncSpeechClient(server.urls.grpc) as speaking:
            return await speaking.speak(Utterance(SHORT, seed=1))

    np.testing.assert_array_equal(asyncio.run(speak()), client.speak(Utterance(SHORT, seed=1)))


def test_long_text_is_spoken_in_segments(client: SpeechClient) -> None:
    *_, last = client.packets(Utterance(LONG), timing=True)
    assert last.timing["segments"] >= 2
    assert last.timing["audio_s"] > 15


def test_cancel_in_mid_stream_frees_everything(server: TritonServer, client: SpeechClient) -> None:
    before = cancelled(server)
    packets = client.packets(Utterance(LONGEST))
    next(packets)

    def busy() -> bool:
        held = gauges(server)
        return held["tritone_streams"] == 1 and held["tritone_flow_sequences"] >= 1

    wait_until(busy, lambda: gauges(server))
    packets.close()
    free = wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)
    assert set(free) == {*GAUGES, *STAGES} and not any(free.values()), free


def test_stop_request_ends_a_generation(server: TritonServer) -> None:
    """What the orchestrator sends when a stream is cancelled while the language model runs."""
    answers: queue.Queue = queue.Queue()
    endless = {"input_ids": [[1, 2, 3]], "input_lengths": [[3]], "request_output_len": [[MOST]]}
    endless |= {"min_length": [[MOST]], "runtime_top_k": [[25]]}
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        raw.start_stream(lambda result, error: answers.put((result, error)))

        def send(arrays: dict[str, list], **flags: list) -> None:
            inputs = tensors({name: np.array(a, np.int32) for name, a in arrays.items()})
            inputs += tensors({name: np.array(a, bool) for name, a in flags.items()})
            raw.async_stream_infer(
                "tensorrt_llm",
                inputs,
                request_id="g1",
                enable_empty_final_response=True,
                parameters={INNER_PARAMETER: server.inner_key},
            )

        send(endless)
        accepted, error = answers.get(timeout=HANG_S)
        assert error is None and accepted.as_numpy("sequence_length") == 0
        first, error = answers.get(timeout=HANG_S)
        assert error is None and first.as_numpy("output_ids").shape[:2] == (1, 1)
        send(endless, stop=[[True]])
        wait_until_free(server)
        rest = [answers.get() for _ in range(answers.qsize())]
    assert not any(error for _, error in rest)
    assert sum(result.as_numpy("output_ids") is not None for result, _ in rest) < MOST - 1


def test_eight_streams_share_the_server(server: TritonServer, client: SpeechClient) -> None:
    utterance = Utterance(SENTENCE, seed=1)
    alone = client.speak(utterance)
    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(lambda _: client.speak(utterance), range(8)))
    assert all(len(samples) == len(alone) for samples in heard)
    # In bfloat16 the last bits of the frames depend on hops and company, and the phase of the voice
    # adds them up; the spectrum stays, within 0.03 dB as measured.
    own = Sketch.of(alone, RATE)
    for samples in heard:
        other = Sketch.of(samples, RATE)
        assert own.spectrum_db(other) < 0.3 and own.likeness(other) > 0.99
    wait_until_free(server)


def test_nobody_waits_in_line(server: TritonServer, client: SpeechClient) -> None:
    """Seven long texts are spoken side by side, and a short one is over long before they are."""
    streams = [client.stream(Utterance(LONGEST, seed=seed)) for seed in range(7)]
    try:
        with ThreadPoolExecutor(7) as pool:
            assert all(len(samples) for samples in pool.map(next, streams))
        assert is_speech(client.speak(Utterance(SHORT)))
        wait_until(lambda: gauges(server)["tritone_streams"] == 7)
    finally:
        for stream in streams:
            stream.close()
    wait_until_free(server)


def test_many_short_streams_with_cancels_never_hang(
    server: TritonServer, client: SpeechClient
) -> None:
    """Starting and receiving at the same time is where Triton's own calls can deadlock."""

    def speak(number: int) -> int:
        stream = client.stream(
            Utterance("Hi." if number % 2 else SHORT, seed=number), timeout=HANG_S
        )
        if number % 5 == 0:
            next(stream)
            stream.close()
            return 0
        return sum(len(samples) for samples in stream)

    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(speak, range(80)))
    assert all(bool(length) == bool(number % 5) for number, length in enumerate(lengths))
    wait_until_free(server)


def test_server_stays_small(server: TritonServer) -> None:
    processes = [psutil.Process(server.pid)]
    processes += processes[0].children(recursive=True)
    resident = sum(process.memory_full_info().pss for process in processes)
    assert len(processes) >= 6
    assert resident < 1.5 * 2**30, f"{resident / 2**30:.2f} GiB"
