"""The clients on a real Triton server, with a model that needs no checkpoint."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import upstream_client
from http_speech import events, post
from paths import EMBEDDED, PROJECT, SUPPORT
from serving import RATE
from toy_server import HELD, PACKET, Toy, toy_settings
from tritonclient.utils import InferenceServerException
from waiting import HANG_S

from tritone.launcher import TritonServer
from tritone_client import (
    AsyncSpeechClient,
    SpeechClient,
    SpeechError,
    StreamMeter,
    Utterance,
)

pytestmark = pytest.mark.server
ASKED = {"event": "cancelled", "after": 1, "asked": True}
"""How a speech ends that a client has left after a packet: by a request."""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def toy(cache_dir: Path) -> Iterator[Toy]:
    notes = cache_dir / "events.jsonl"
    model = cache_dir / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings = toy_settings(
        cache_dir, model_dir=model, environment={"TOY_EVENTS": str(notes), "OMP_NUM_THREADS": "3"}
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        yield Toy(server, notes)


def test_the_model_runs_in_this_environment(toy: Toy) -> None:
    event = toy.events()[0]
    assert event["event"] == "up"
    assert event["prefix"] == sys.prefix
    assert event["environment"] == {
        "TRITONE_MODEL": str(toy.server.settings.model_dir),
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": os.environ.get("MKL_NUM_THREADS", "1"),
    }


def test_stream_arrives_packet_by_packet(toy: Toy) -> None:
    """Each packet is here before the next one is spoken."""
    meter, parts = StreamMeter(RATE), []
    with SpeechClient(toy.url) as client:
        text = "one wait:second two wait:third three wait:fourth four"
        stream = client.stream(Utterance(text), timeout=HANG_S)
        for gate in ("second", "third", "fourth", "end"):
            parts.append(next(stream))
            meter.packet(parts[-1])
            toy.open(gate)
        assert not list(stream)
    metrics = meter.finish()
    assert [part.shape for part in parts] == [(PACKET,)] * 4
    assert len(metrics.gaps_s) == 3 and metrics.audio_s == pytest.approx(0.4)
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(PACKET) / RATE)
    np.testing.assert_allclose(parts[3], tone, atol=1e-5)


def test_an_error_after_the_first_packet_is_an_event_of_its_own(toy: Toy) -> None:
    status, _, text = post(toy.server, "generate_stream", target_text="one fail")
    packet, error = events(text)
    assert (status, len(packet["waveform"])) == (200, PACKET)
    assert error == {"error": "target_text: it says fail"}


def test_the_client_finds_out_who_speaks_and_how_fast(toy: Toy) -> None:
    async def ask() -> tuple[str, int]:
        async with AsyncSpeechClient(toy.url) as client:
            return await client.model(), await client.sample_rate()

    with SpeechClient(toy.url) as client:
        assert (client.model, client.sample_rate) == ("cosyvoice2", RATE) == asyncio.run(ask())


def test_a_model_that_is_not_there_is_named(toy: Toy) -> None:
    with SpeechClient(toy.url, "nobody") as client, pytest.raises(SpeechError, match="'nobody'"):
        client.sample_rate  # noqa: B018


def test_a_server_that_does_not_speak_is_named(tmp_path: Path) -> None:
    settings = toy_settings(
        tmp_path, SUPPORT / "toy_repo_llm", model_dir=EMBEDDED, public_model="tensorrt_llm"
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        with SpeechClient(server.urls.grpc) as client, pytest.raises(SpeechError) as caught:
            client.speak(Utterance("one"))
    assert caught.value.status == "UNAVAILABLE"
    said = f"no model of {server.urls.grpc} speaks; ready: tensorrt_llm; name the one that is meant"
    assert said in str(caught.value)


def test_the_model_sees_what_the_client_sent(toy: Toy) -> None:
    wav = np.array([0.5, -0.5, 0.25, 0.0], np.float32)
    utterance = Utterance(
        "hello", wav, 24000, 3, "said", "slowly", "anna", 7, 0.5, 0.75, 25, 1.5, streaming=False
    )
    mark = toy.mark()
    with SpeechClient(toy.url) as client:
        packets = list(client.packets(utterance, timing=True, request_id="r1"))
    assert [packet.samples.size for packet in packets] == [PACKET]
    assert packets[0].timing == {"packets": 1}
    event = toy.wait_for("request", mark)
    assert sorted(event["asked"]) == ["timing", "waveform"]
    assert event["inputs"] == {
        "target_text": ["object", [1, 1], ["hello"]],
        "reference_wav": ["float32", [1, 4], [0.5, -0.5, 0.25, 0.0]],
        "reference_wav_len": ["int32", [1, 1], [3]],
        "reference_sample_rate": ["int32", [1, 1], [24000]],
        "reference_text": ["object", [1, 1], ["said"]],
        "instruct_text": ["object", [1, 1], ["slowly"]],
        "voice": ["object", [1, 1], ["anna"]],
        "seed": ["uint64", [1, 1], [7]],
        "temperature": ["float32", [1, 1], [0.5]],
        "top_p": ["float32", [1, 1], [0.75]],
        "top_k": ["int32", [1, 1], [25]],
        "speed": ["float32", [1, 1], [1.5]],
        "streaming": ["bool", [1, 1], [False]],
    }


def test_async_streams_run_side_by_side(toy: Toy) -> None:
    """All four are in their midst before any may go on."""
    mark = toy.mark()

    def open_for_all() -> None:
        toy.wait_for("waiting", mark, count=4)
        toy.open("all")

    async def speak_all() -> list[np.ndarray]:
        async with AsyncSpeechClient(toy.url) as client:
            four = [client.speak(Utterance("a b wait:all c d")) for _ in range(4)]
            *waves, _ = await asyncio.gather(*four, asyncio.to_thread(open_for_all))
        return waves

    assert [wave.size for wave in asyncio.run(speak_all())] == [4 * PACKET] * 4


def test_a_client_of_the_upstream_runtime_is_served(toy: Toy) -> None:
    mark = toy.mark()
    wav = np.full(20000, 0.5, np.float32)
    chunks = upstream_client.speak(toy.url, wav, "what was said", "one two three", timeout=HANG_S)
    assert [chunk.size for chunk in chunks] == [PACKET] * 3
    event = toy.wait_for("request", mark)
    assert event["asked"] == ["waveform"]
    assert event["inputs"] == {
        "reference_wav": ["float32", [1, 160000], [0.5] * 4],
        "reference_wav_len": ["int32", [1, 1], [20000]],
        "reference_text": ["object", [1, 1], ["what was said"]],
        "target_text": ["object", [1, 1], ["one two three"]],
    }


def test_leaving_the_loop_cancels_on_the_server(toy: Toy) -> None:
    mark = toy.mark()
    with SpeechClient(toy.url) as client:
        for _ in client.stream(Utterance(HELD)):
            break
    assert toy.wait_for("cancelled", mark) == ASKED


def test_leaving_the_async_loop_cancels_on_the_server(toy: Toy) -> None:
    mark = toy.mark()

    async def leave_early() -> None:
        async with (
            AsyncSpeechClient(toy.url) as client,
            aclosing(client.stream(Utterance(HELD))) as stream,
        ):
            async for _ in stream:
                break

    asyncio.run(leave_early())
    assert toy.wait_for("cancelled", mark) == ASKED


def test_cancelling_the_task_cancels_on_the_server(toy: Toy) -> None:
    mark = toy.mark()

    async def cancel_task() -> None:
        async with AsyncSpeechClient(toy.url) as client:
            task = asyncio.create_task(client.speak(Utterance(HELD)))
            await asyncio.to_thread(toy.wait_for, "waiting", mark)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel_task())
    assert toy.wait_for("cancelled", mark) == ASKED


def test_a_deadline_ends_both_sides(toy: Toy) -> None:
    mark = toy.mark()
    with SpeechClient(toy.url) as client:
        stream = client.stream(Utterance(HELD), timeout=5)
        with pytest.raises(SpeechError) as caught:
            list(stream)
        assert caught.value.status == "DEADLINE_EXCEEDED"
    assert toy.wait_for("cancelled", mark) == ASKED


def test_an_error_surfaces_in_both_clients_and_harms_nobody(toy: Toy) -> None:
    async def speak() -> None:
        async with AsyncSpeechClient(toy.url) as client:
            await client.speak(Utterance("one fail"))

    with SpeechClient(toy.url) as client:
        for _ in range(20):
            with pytest.raises(SpeechError, match="target_text: it says fail"):
                client.speak(Utterance("fail"))
        with pytest.raises(SpeechError, match="target_text: it says fail"):
            asyncio.run(speak())
        assert client.speak(Utterance("fine")).size == PACKET


def test_say_command(toy: Toy, tmp_path: Path) -> None:
    target = tmp_path / "said.wav"
    command = [
        sys.executable,
        "-m",
        "tritone_client.say",
        "one two",
        "--url",
        toy.url,
        "-o",
        str(target),
    ]
    done = subprocess.run(
        [*command, "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=True,
    )
    assert json.loads(done.stdout)["packets"] == 2
    assert "0.20 s of audio" in done.stderr
    assert target.stat().st_size == 44 + 2 * 2 * PACKET


def test_only_the_launcher_may_unload(toy: Toy) -> None:
    url = f"{toy.server.urls.http}/v2/repository/models/cosyvoice2/unload"
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(url, data=b"{}"), timeout=HANG_S)
    with caught.value as refusal:
        assert refusal.code == 403
    with grpcclient.InferenceServerClient(toy.url) as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.unload_model("cosyvoice2")
        assert client.is_model_ready("cosyvoice2")
