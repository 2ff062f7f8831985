"""Two real servers, one of which has its language model at the other: the same speech, cancels that
arrive, losses that are told, a way back; and a registry of voices that both share."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from certificates import HOST, Certificates
from metrics_scrape import Scrape, text_of
from paths import EMBEDDED
from serving import LONGEST, SENTENCE, SHORT, is_speech, wait_until_free
from sound_files import SPOKEN
from waiting import HANG_S, wait_until

from tritone.errors import EnvironmentProblem
from tritone.families import open_model
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.registry.record import Details
from tritone.frontend.registry.store import VoiceRegistry
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.model_processes import model_processes
from tritone.launcher.ports import free_ports
from tritone.launcher.readiness import is_ready
from tritone.launcher.supervisor import Supervisor
from tritone.launcher.tls import ServerTls
from tritone.serving.remote_server import RemoteServer
from tritone.serving.remote_settings import RemoteSettings
from tritone_client import SpeechClient, SpeechError, Tls, Utterance

pytestmark = [pytest.mark.server, pytest.mark.slow]
KEY = "of-both-servers-0123456789"
SLOTS = 2  # of the language model
BEGUN = "The birch canoe slid on the smooth planks of the "  # a sentence that goes on
INTERLEAVED = {"text_mode": "interleaved"}
TIMELESS = {"max_first_audio_seconds": "0", "playback_reserve": "0", "max_hop": "25"}


def settings_of(folder: Path, **more: object) -> ServerSettings:
    http, grpc, metrics = free_ports()
    return ServerSettings(
        model_dir=EMBEDDED,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        cache_dir=folder / "cache",
        voices_dir=folder / "voices",
        inner_key_file=folder / "key",
        **more,  # type: ignore[arg-type]
    )


class Pair:
    """far: has the language model. near: has what it needs beside, and is looked after."""

    def __init__(self, folder: Path) -> None:
        (folder / "key").write_text(KEY)
        issued = Certificates(folder)
        self._far = settings_of(
            folder,
            address=HOST,
            tls=ServerTls(*issued.pair("server"), issued.pem("clients")),
            parameters={
                "tensorrt_llm": {"precision": "fp32", "slots": str(SLOTS), "max_waiting": "0"},
                "cosyvoice2": TIMELESS,
            },
        )
        cert, key = issued.pair("client")
        self.elsewhere = RemoteSettings(
            url=f"{HOST}:{self._far.grpc_port}",
            key_file=str(folder / "key"),
            tls_ca=str(issued.pem("servers")),
            tls_cert=str(cert),
            tls_key=str(key),
        )
        self.tls = Tls(ca=issued.pem("servers"), cert=cert, key=key)
        self.near_settings = settings_of(
            folder,
            parameters={
                "tensorrt_llm": {k: str(v) for k, v in asdict(self.elsewhere).items()},
                "cosyvoice2": TIMELESS,
            },
            restarts_per_hour=0,
        )
        self.far = self.near = TritonServer(self._far)

    @property
    def address(self) -> str:
        return self.elsewhere.url

    def start_far(self) -> None:
        self.far = TritonServer(self._far)
        self.far.start()

    def generations(self) -> float:
        return Scrape(text_of(self.far.urls.metrics))["tritone_llm_generations"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    ready: list[TritonServer] = []
    supervisor = Supervisor(pair.near_settings, lambda server, _: ready.append(server))
    with ThreadPoolExecutor(1) as pool:
        pair.start_far()
        running = pool.submit(supervisor.run)  # waits for the other
        try:
            pair.far.wait_ready()
            wait_until(lambda: ready or running.done())
            assert ready, running.result()
            pair.near = ready[0]
            yield pair
        finally:
            supervisor.stopping.set()
            pair.far.stop()
            with suppress(BaseException):
                running.result()


@pytest.fixture
def near(pair: Pair) -> Iterator[SpeechClient]:
    wait_until(lambda: is_ready(pair.near_settings.urls))
    with SpeechClient(pair.near_settings.urls.grpc) as client:
        yield client


@pytest.fixture
def far(pair: Pair) -> Iterator[SpeechClient]:
    with SpeechClient(pair.address, tls=pair.tls) as client:
        yield client


def said(client: SpeechClient, **how: object) -> np.ndarray:
    """In one piece, so that it does not depend on what else the machine does."""
    return client.speak(Utterance(SENTENCE, streaming=False, **how), timeout=HANG_S)  # type: ignore[arg-type]


def test_the_same_seed_is_the_same_speech(near: SpeechClient, far: SpeechClient) -> None:
    """Also of several at once."""
    with ThreadPoolExecutor(SLOTS) as pool:
        ours = list(pool.map(lambda seed: said(near, seed=seed), (1, 2)))
    for seed, samples in zip((1, 2), ours, strict=True):
        assert is_speech(samples)
        np.testing.assert_array_equal(samples, said(far, seed=seed))


def test_a_cancel_frees_the_other_servers_slot(pair: Pair, near: SpeechClient) -> None:
    stream = near.stream(Utterance(LONGEST, seed=1), timeout=HANG_S)
    next(stream)
    wait_until(lambda: pair.generations() == 1)
    stream.close()
    wait_until(lambda: pair.generations() == 0)
    wait_until_free(pair.far)


def test_a_text_in_pieces_is_spoken_before_its_sentence_ends(
    pair: Pair, near: SpeechClient
) -> None:
    pieces = iter([BEGUN, "harbour, and ", "Dr. Smith paid for it."])
    with near.begin(Utterance(next(pieces), seed=1), timing=True, **INTERLEAVED) as speech:
        packets = speech.packets()
        heard = [next(packets)]
        assert pair.generations() == 1, "it waits for text"
        for piece in pieces:
            speech.say(piece)
        speech.end()
        heard += packets
    assert heard[-1].timing["outcome"] == "ok"
    assert is_speech(np.concatenate([packet.samples for packet in heard]))
    wait_until(lambda: pair.generations() == 0)


def test_a_full_language_model_refuses_as_it_does_there(
    pair: Pair, near: SpeechClient, far: SpeechClient
) -> None:
    with ExitStack() as held:
        speeches = [
            held.enter_context(near.begin(Utterance(BEGUN, seed=seed), **INTERLEAVED))
            for seed in range(SLOTS)
        ]
        packets = [speech.packets() for speech in speeches]
        for speech in packets:
            next(speech)
        assert pair.generations() == SLOTS
        refusals = []
        for client in (near, far, near):
            with pytest.raises(SpeechError) as error:
                said(client)
            refusals.append(error.value)
        assert {(refused.status, refused.passes) for refused in refusals} == {("UNAVAILABLE", True)}
        assert str(refusals[0]) == str(refusals[1]) and "retry later" in str(refusals[0])
        for speech in speeches:
            speech.cancel()
        for rest in packets:
            list(rest)
    wait_until_free(pair.far)
    assert is_speech(said(near))


def test_what_waits_here_frees_its_slot_there_when_it_dies(pair: Pair, near: SpeechClient) -> None:
    before = said(near, seed=3)
    speech = near.begin(Utterance(BEGUN, seed=1), timing=True, **INTERLEAVED)
    with speech, pytest.raises(SpeechError, match="tensorrt_llm"):
        packets = speech.packets()
        next(packets)
        assert pair.generations() == 1
        (model,) = model_processes(pair.near.pid)["tensorrt_llm"]
        os.kill(model, signal.SIGKILL)
        list(packets)
    wait_until(lambda: pair.generations() == 0)
    wait_until(lambda: model_processes(pair.near.pid).get("tensorrt_llm", [model]) != [model])
    wait_until(lambda: is_ready(pair.near_settings.urls))
    np.testing.assert_array_equal(said(near, seed=3), before)


def lose_its_model(far: TritonServer) -> None:
    """Nobody looks after this server: Triton goes on calling the model ready."""
    (model,) = model_processes(far.pid)["tensorrt_llm"]
    os.kill(model, signal.SIGKILL)


LOSSES = {
    "killed": lambda far: os.kill(far.pid, signal.SIGKILL),
    "stands still": lambda far: os.kill(far.pid, signal.SIGSTOP),
    "told to end": TritonServer.stop,
    "its model killed": lose_its_model,
}


def broken_by(near: SpeechClient, end: str, pair: Pair) -> tuple[SpeechError, float]:
    """How a stream ends, and after how many seconds, when the other server is lost."""
    stream = near.stream(Utterance(LONGEST, seed=1), timeout=HANG_S)
    next(stream)
    began = time.monotonic()
    LOSSES[end](pair.far)
    with pytest.raises(SpeechError) as error:
        for _ in stream:
            pass
    return error.value, time.monotonic() - began


@pytest.mark.parametrize("end", LOSSES)
def test_a_loss_is_told_and_the_way_back_is_found(pair: Pair, near: SpeechClient, end: str) -> None:
    before = said(near, seed=3)
    error, seconds = broken_by(near, end, pair)
    print(f"told {seconds:.2f} s after: {end}")
    assert "tensorrt_llm" in str(error) and error.passes
    # a generation that begins while the other server ends is refused in Triton's words
    assert pair.address in str(error) or "is being started again" in str(error)
    wait_until(lambda: not is_ready(pair.near_settings.urls))
    with pytest.raises(SpeechError, match="tensorrt_llm") as refused:
        said(near, seed=3)
    assert refused.value.status == "UNAVAILABLE"
    if end == "stands still":
        os.kill(pair.far.pid, signal.SIGCONT)
    else:
        pair.far.stop()
        pair.start_far()
        pair.far.wait_ready()
    wait_until(lambda: is_ready(pair.near_settings.urls))
    np.testing.assert_array_equal(said(near, seed=3), before)


def test_a_wrong_key_is_refused(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("of-somebody-else-0123456789")
    with pytest.raises(EnvironmentProblem, match=r"key_file .* \(--inner-key-file\)"):
        RemoteServer(replace(pair.elsewhere, key_file=str(tmp_path / "wrong"))).wait(str)
    RemoteServer(pair.elsewhere).wait(str)


def test_both_servers_have_the_voices_of_one_registry(
    pair: Pair, near: SpeechClient, far: SpeechClient
) -> None:
    assert pair.near_settings.voices_dir is not None
    desk = VoiceDesk(open_model(EMBEDDED), VoiceRegistry(pair.near_settings.voices_dir))
    for client in (near, far):
        with pytest.raises(SpeechError, match="voice: 'ann' is not registered"):
            said(client, voice="ann")
    spoken = []
    for name in ("heart", "joe"):
        desk.add(SPOKEN[name].read_bytes(), Details("ann", consent="given"), replace=True)
        ours, theirs = said(near, voice="ann", seed=1), said(far, voice="ann", seed=1)
        np.testing.assert_array_equal(ours, theirs)
        assert "ann" in near.voices() and "ann" in far.voices()
        spoken.append(ours)
    assert len(spoken[0]) != len(spoken[1]) or not np.array_equal(*spoken)
    desk.remove("ann")
    for client in (near, far):
        with pytest.raises(SpeechError, match="voice: 'ann' is not registered"):
            said(client, voice="ann")
    assert is_speech(near.speak(Utterance(SHORT, voice="joe"), timeout=HANG_S))
