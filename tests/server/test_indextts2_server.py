"""A tiny IndexTTS2, from released files to audio of the real server. It speaks noise."""

import json
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import soundfile
import tritonclient.grpc as triton
from indextts2_emotion_model import emotion_model
from indextts2_whole_release import whole_release
from serving import SENTENCE, SHORT, reference, tensors, wait_until_free
from sound_files import SPOKEN
from toy_server import free_ports

from fuzzing.campaign import attempt
from fuzzing.models import public
from fuzzing.served import in_pieces, of_model
from fuzzing.wire import Server
from tritone import cli
from tritone.families import open_model
from tritone.families.indextts2 import FAMILY
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.emotion import EMOTIONS
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.audio.decode import decode
from tritone.frontend.registry.record import Details
from tritone.frontend.registry.store import VoiceRegistry
from tritone.frontend.voices import VoiceStore, save_voice
from tritone.launcher import ServerSettings, TritonServer
from tritone.triton_models import INNER_PARAMETER, LANGUAGE_MODEL
from tritone_client import Emotion, SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server

NAME, RATE, FRAME = "indextts2", 22050, 256
LAST_BITS = 1e-3  # of voices that another process made, which has other threads
LICENCES = ("--accept-licence", "bilibili-model-use", "--accept-licence", "CC-BY-NC-4.0")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a voice, which is no default one."""
    folder = tmp_path_factory.mktemp(NAME)
    released, model = whole_release(folder / "released"), folder / "model"
    emotion_model(released)
    assert cli.main(["convert", str(released), str(model), *LICENCES]) == 0
    maker = FAMILY.load_voice_maker(model, IndexTTS2Config.read(model))
    voice, _ = maker.voice(reference(), 16000, "")
    save_voice(VoiceStore(model).path("buzz"), voice)
    return model


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[TritonServer]:
    # how slow the machine is must not decide which streams are taken
    waiting = {"max_first_audio_seconds": "0", "playback_reserve": "0"}
    settings = ServerSettings(
        model_dir=model,
        cache_dir=model.parent / "cache",
        voices_dir=model.parent / "voices",
        parameters={NAME: {**waiting, "first_hop": "25"}},
        **free_ports(),
    )
    with TritonServer(settings) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[SpeechClient]:
    with SpeechClient(server.urls.grpc) as speaking:
        yield speaking


def cloned(text: str = SHORT, **more: object) -> Utterance:
    return Utterance(text, **{"seed": 1, "reference_wav": reference(), **more})


def test_a_recording_s_voice_is_streamed(client: SpeechClient) -> None:
    assert client.model == NAME and client.sample_rate == RATE
    packets = list(client.packets(cloned(SENTENCE), timing=True))
    samples = np.concatenate([packet.samples for packet in packets])
    assert len(packets) >= 2 and np.isfinite(samples).all() and samples.std() > 0.01
    assert len(samples) % FRAME == 0
    timing = packets[-1].timing
    assert timing["outcome"] == "ok"
    assert timing["audio_s"] == pytest.approx(len(samples) / RATE, abs=1e-4)
    np.testing.assert_array_equal(samples, client.speak(cloned(SENTENCE)))
    assert not np.array_equal(samples, client.speak(cloned(SENTENCE, seed=2)))


def test_the_whole_utterance_is_one_packet(client: SpeechClient) -> None:
    (whole,) = client.packets(cloned(streaming=False))
    streamed = client.speak(cloned())
    assert len(whole.samples) == len(streamed) and np.isfinite(whole.samples).all()


def test_a_registered_voice_is_that_of_its_recording(client: SpeechClient) -> None:
    named = client.speak(Utterance(SHORT, seed=1, voice="buzz"))
    np.testing.assert_allclose(named, client.speak(cloned()), atol=LAST_BITS)


def test_a_voice_that_is_added_while_it_runs_is_that_of_its_recording(
    server: TritonServer, client: SpeechClient, model: Path
) -> None:
    assert server.settings.voices_dir is not None
    desk = VoiceDesk(open_model(model), VoiceRegistry(server.settings.voices_dir))
    data = SPOKEN["heart"].read_bytes()
    desk.add(data, Details("heart", consent="given"))
    added, sound = client.speak(Utterance(SHORT, seed=1, voice="heart")), decode(data)
    again = cloned(reference_wav=sound.wav, reference_rate=sound.rate)
    np.testing.assert_allclose(added, client.speak(again), atol=LAST_BITS)
    desk.remove("heart")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Utterance(SHORT), "reference_wav: is missing, and this model has no default voice"),
        (cloned(instruct_text="Be kind."), "instruct_text: this checkpoint does not follow instr"),
        (cloned(top_p=1.5), "top_p"),
        (cloned("..."), "target_text: has nothing that this voice can speak"),
    ],
)
def test_what_is_wrong_is_named(client: SpeechClient, wrong: Utterance, said: str) -> None:
    with pytest.raises(SpeechError) as refused:
        client.speak(wrong)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert said in str(refused.value)


def test_a_stream_that_nobody_reads_ends(server: TritonServer, client: SpeechClient) -> None:
    stream = client.stream(cloned(" ".join([SENTENCE] * 8)))
    assert len(next(stream))
    stream.close()
    assert not any(wait_until_free(server).values())


def test_the_language_model_goes_on_from_vectors_alone(server: TritonServer, model: Path) -> None:
    """And gives a latent beside each code; ids, as other families' prompts have, are refused."""
    width = IndexTTS2Config.read(model).gpt.width
    ids = {
        "input_ids": np.zeros((1, 4), np.int32),
        "input_lengths": np.array([[4]], np.int32),
        "request_output_len": np.array([[3]], np.int32),
        "min_length": np.array([[3]], np.int32),
    }
    of_vectors = answers_of(server, {**ids, "prompt_embeddings": np.ones((1, 4 * width), "f4")})
    given = [one for one in of_vectors if one.as_numpy("output_ids") is not None]
    codes = sum(one.as_numpy("output_ids").size for one in given)
    latents = sum(one.as_numpy("latents").size for one in given)
    assert (codes, latents) == (3, 3 * width)
    with pytest.raises(triton.InferenceServerException, match="from prompt_embeddings alone"):
        answers_of(server, ids)


def answers_of(server: TritonServer, arrays: dict[str, np.ndarray]) -> list[triton.InferResult]:
    """Of the language model as the orchestrator asks it; raises the first error."""
    answers: Queue[tuple[triton.InferResult, triton.InferenceServerException | None]] = Queue()
    key = {INNER_PARAMETER: server.inner_key}
    with triton.InferenceServerClient(server.urls.grpc) as caller:
        caller.start_stream(lambda result, error: answers.put((result, error)))
        caller.async_stream_infer(LANGUAGE_MODEL, tensors(arrays), parameters=key)
        caller.stop_stream()
    results = []
    while not answers.empty():
        result, error = answers.get()
        if error:
            raise error
        results.append(result)
    return results


def test_the_commands_need_no_more_than_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.jsonl"
    soundfile.write(tmp_path / "other.wav", reference(2.0), 16000)
    line = {"text": SHORT, "seed": 1, "voice": "buzz"}
    kinds = {"plain": {}, "calm": {"emotion_vector": [0] * 7 + [1]}}
    kinds["other"] = {"emotion_audio": "other.wav"}
    manifest.write_text("\n".join(json.dumps({"id": k, **line, **v}) for k, v in kinds.items()))
    out = tmp_path / "wavs"
    command = ["offline", "--model", str(model), "--manifest", str(manifest), "--out", str(out)]
    assert cli.main(command) == 0
    assert len({path.read_bytes() for path in out.glob("*.wav")}) == len(kinds)
    assert cli.main(["load", str(model)]) == 0
    assert "int8.onnx" in capsys.readouterr().out


def spoken(client: SpeechClient, **emotion: object) -> np.ndarray:
    """None for no emotion at all."""
    wanted = Emotion(**emotion) if emotion else None
    return client.speak(Utterance(SHORT, seed=1, voice="buzz", emotion=wanted))


def test_emotions_come_by_shares_by_recordings_and_by_texts(client: SpeechClient) -> None:
    assert client.emotions == EMOTIONS
    plain = spoken(client)
    calm = spoken(client, vector=np.eye(8)[-1])
    assert not np.array_equal(calm, plain)
    other = {"wav": reference(2.0)[::2], "rate": 8000}
    assert not np.array_equal(spoken(client, **other), plain)
    np.testing.assert_array_equal(spoken(client, **other, weight=0.0), plain)
    sad = spoken(client, text="It rains again.")  # the model says so of all texts
    np.testing.assert_array_equal(sad, spoken(client, vector=(0, 0, 0.5, 0, 0, 0.25, 0, 0)))
    gloomy = spoken(client, text="It is gloomy.", weight=0.5)
    shares = (0, 0, 0.25, 0, 0, 0.5, 0, 0)
    np.testing.assert_array_equal(gloomy, spoken(client, vector=shares, weight=0.5))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vector": np.ones(7)}, "emotion_vector: has 7 values"),
        ({"vector": np.full(8, 1.5)}, "emotion_vector: is 1.5; the limits"),
        ({"vector": np.ones(8), "weight": 1.5}, "emotion_weight: is 1.5; the limits"),
        ({"wav": reference(2.0)[:100]}, r"emotion_wav: lasts 0\.01 s"),
        ({"text": "x" * 1001}, "emotion_text: has 1001 characters; the limit is 1000"),
        ({"text": " ", "weight": 0.5}, "emotion_weight: needs emotion_vector, emotion_wav or"),
    ],
)
def test_an_emotion_that_cannot_be_is_refused_by_name(
    client: SpeechClient, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(SpeechError, match=said) as refused:
        spoken(client, **wrong)
    assert refused.value.status == "INVALID_ARGUMENT"


def test_hostile_emotions_are_refused_and_harm_nobody(
    server: TritonServer, client: SpeechClient
) -> None:
    plain, enemy = spoken(client), Server(server.urls.grpc, server.urls.http)
    hostile = of_model(enemy, public(NAME, emotions=True))
    outcomes = [attempt(each, 40, seed=0) for each in (hostile, in_pieces(enemy, public(NAME)))]
    enemy.close()
    assert not [fault for outcome in outcomes for fault in outcome.faults.values()]
    assert not any(wait_until_free(server).values())
    np.testing.assert_array_equal(spoken(client), plain)
