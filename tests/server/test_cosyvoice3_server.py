"""A tiny CosyVoice3, from released files to audio of the real server. It speaks noise."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import upstream_client
from cosyvoice3_release import FOLDER, cosyvoice3_release
from serving import RATE, SHORT, reference
from toy_server import free_ports

from tritone import cli
from tritone.checkpoints.conversion import ConvertOptions
from tritone.families.cosyvoice3 import FAMILY
from tritone.launcher import ServerSettings, TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance
from tritone_client.bench import main as bench

pytestmark = pytest.mark.server

SYSTEM = "You are a helpful assistant."
END = "<|endofprompt|>"
WORDS = "Some words."
CANNED = json.loads((FOLDER / "instruct_list.json").read_text("utf-8"))["instruct_list"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cosyvoice3")
    released, model = cosyvoice3_release(folder / "released"), folder / "model"
    checked = list(FAMILY.convert(released, model, ConvertOptions()))
    assert len(checked) == 7 and not any("warning" in line for line in checked)
    return model


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[TritonServer]:
    settings = ServerSettings(
        model_dir=model,
        cache_dir=model.parent / "cache",
        # how slow the machine is must not decide which streams are taken
        parameters={
            "cosyvoice3": {
                "max_first_audio_seconds": "0",
                "playback_reserve": "0",
                "max_hop": "25",
            }
        },
        **free_ports(),
    )
    with TritonServer(settings) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[SpeechClient]:
    with SpeechClient(server.urls.grpc) as speaking:
        yield speaking


def utterance(text: str = SHORT, **more: object) -> Utterance:
    return Utterance(text, **{"seed": 1, **more})


def cloned(text: str = SHORT, **more: object) -> Utterance:
    return utterance(text, reference_wav=reference(), **more)


def test_a_registered_voice_is_streamed(client: SpeechClient) -> None:
    assert client.model == "cosyvoice3" and client.sample_rate == RATE
    packets = list(client.packets(utterance(SHORT + " " + SHORT), timing=True))
    samples = np.concatenate([packet.samples for packet in packets])
    assert len(packets) >= 2 and np.isfinite(samples).all() and samples.std() > 0
    timing = packets[-1].timing
    assert timing["outcome"] == "ok" and round(timing["audio_s"] * RATE) == len(samples)
    again = client.speak(utterance(SHORT + " " + SHORT))
    np.testing.assert_array_equal(samples, again)
    named = client.speak(utterance(SHORT + " " + SHORT, voice="my_spk"))
    np.testing.assert_array_equal(samples, named)


def test_the_whole_utterance_is_one_packet(client: SpeechClient) -> None:
    (whole,) = client.packets(utterance(streaming=False))
    assert len(whole.samples) == len(client.speak(utterance()))
    assert np.isfinite(whole.samples).all()


def test_the_system_s_words_may_be_sent_or_left_out(client: SpeechClient) -> None:
    plain = client.speak(cloned(reference_text=WORDS))
    prefixed = client.speak(cloned(reference_text=f"{SYSTEM}{END}{WORDS}"))
    np.testing.assert_array_equal(plain, prefixed)
    without_transcript = client.speak(cloned())
    prefixed = client.speak(cloned(f"{SYSTEM}{END}{SHORT}"))
    np.testing.assert_array_equal(without_transcript, prefixed)
    assert not np.array_equal(plain, without_transcript)


def test_an_instruction_is_followed(client: SpeechClient) -> None:
    canned = CANNED[0]
    whole = client.speak(cloned(instruct_text=canned))
    short = canned.removeprefix(SYSTEM).removesuffix(END).strip()
    np.testing.assert_array_equal(whole, client.speak(cloned(instruct_text=short)))
    assert not np.array_equal(whole, client.speak(cloned()))


def test_phonemes_are_spoken_however_their_accents_are_written(client: SpeechClient) -> None:
    text = "我[j][ǐ]。"
    packets = list(client.packets(utterance(text), timing=True))
    assert np.isfinite(np.concatenate([packet.samples for packet in packets])).all()
    (span,) = packets[-1].timing["spans"]
    assert span["text"] == [0, len(text)]
    apart = client.speak(utterance(text.replace("ǐ", "i\u030c")))
    np.testing.assert_array_equal(apart, np.concatenate([p.samples for p in packets]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (utterance("[j][ix]"), "target_text: has [ix], which is no phoneme of this model"),
        (cloned(reference_text="[AH9] words"), "reference_text: has [AH9], which is no phoneme"),
        (cloned(reference_text=f"{WORDS}<|endofsystem|>"), "reference_text: has <|endofsystem|>"),
        (cloned(f"Be kind.{END}{SHORT}"), "target_text: has 'Be kind.' before <|endofprompt|>"),
        (cloned(instruct_text="..."), "instruct_text: has no words"),
        (cloned(instruct_text=f"{SYSTEM}{END}"), "instruct_text: has no words"),
    ],
)
def test_what_is_wrong_is_named(client: SpeechClient, wrong: Utterance, said: str) -> None:
    with pytest.raises(SpeechError) as refused:
        client.speak(wrong)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert said in str(refused.value)


def test_the_client_of_upstream_s_runtime_works_unchanged(server: TritonServer) -> None:
    for transcript in (WORDS, f"{SYSTEM}{END}{WORDS}"):
        chunks = upstream_client.speak(
            server.urls.grpc, reference(), transcript, SHORT, model="cosyvoice3"
        )
        assert chunks and all(chunk.dtype == np.float32 and chunk.size for chunk in chunks)
        assert np.isfinite(np.concatenate(chunks)).all()


def test_the_commands_need_no_more_than_the_server(
    server: TritonServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, wav, figures = server.urls.grpc, tmp_path / "said.wav", tmp_path / "bench.json"
    assert cli.main(["say", SHORT, "--url", url, "-o", str(wav)]) == 0
    assert wav.stat().st_size > 44
    many = ["--requests", "2", "--warmup", "0", "--concurrency", "1"]
    assert bench(["--url", url, "--text", SHORT, *many, "--json", str(figures)]) == 0
    (level,) = json.loads(figures.read_text())["levels"]
    assert level["completed"] == 2 and level["audio_s"] > 0


def test_the_commands_need_no_more_than_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.jsonl"
    lines = [{"id": "plain", "text": SHORT, "seed": 1}]
    lines.append({"id": "kind", "text": SHORT, "seed": 1, "instruct_text": "Be kind."})
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "wavs"
    command = ["offline", "--model", str(model), "--manifest", str(manifest), "--out", str(out)]
    assert cli.main(command) == 0
    assert {path.stem for path in out.glob("*.wav")} == {"plain", "kind"}
    assert cli.main(["voices", "--model", str(model)]) == 0
    assert "my_spk" in capsys.readouterr().out
    assert cli.main(["load", str(model)]) == 0
    assert "flow.safetensors" in capsys.readouterr().out
