"""Handing in a voice: checked, made as a request would make it, kept, passed on."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from paths import EMBEDDED, GOLDEN
from recordings import LONG, SENTENCE, read
from sound_files import RATE, SPOKEN, coded, noisy, spoken, wav_file

from tritone.arrays import Float32
from tritone.errors import (
    InvalidRequest,
    ModelDirectoryError,
    TritoneError,
    UnknownVoice,
    VoiceExists,
)
from tritone.families import Model, open_model
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.audio.decode import decode
from tritone.frontend.registry.record import Details
from tritone.frontend.registry.store import VoiceRegistry
from tritone.frontend.text.settings import text_settings
from tritone.synthesis.limits import Limits
from tritone.synthesis.values import SynthesisRequest

ANN = Details("ann", "Ann", SENTENCE, "en", "she agreed in writing", "CC BY 4.0")


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model(EMBEDDED)


@pytest.fixture(scope="module")
def loaded(model: Model, tmp_path_factory: pytest.TempPathFactory) -> VoiceDesk:
    desk = VoiceDesk(model, VoiceRegistry(tmp_path_factory.mktemp("desk")))
    desk.load()
    return desk


@pytest.fixture
def desk(loaded: VoiceDesk) -> Iterator[VoiceDesk]:
    yield loaded
    shutil.rmtree(loaded.registry.folder, ignore_errors=True)


def sentence() -> Float32:
    return read("joe", SENTENCE)


def plain(voice_id: str = "ann", transcript: str = "") -> Details:
    return Details(voice_id, transcript=transcript, consent="given")


def test_an_added_voice_is_the_one_that_a_request_with_the_recording_gets(
    desk: VoiceDesk, model: Model
) -> None:
    data = coded(sentence(), "webm", "libopus")
    added = desk.add(data, ANN)
    record, arrays = desk.registry.open("ann")
    assert record == added.record == desk.get("ann") and desk.listing().added == (record,)
    assert record.recording == hashlib.sha256(data).hexdigest()
    assert (record.name, record.language, record.licence) == ("Ann", "en", "CC BY 4.0")
    assert record.family == "cosyvoice2" and record.encoders == model.family.encoders(EMBEDDED)
    assert 0 < added.encoder_seconds < added.seconds
    front = model.family.load_frontend(EMBEDDED, model.config, Limits(), text_settings())
    sound = decode(data)
    request = SynthesisRequest(
        text="x",
        reference_wav=sound.wav,
        reference_rate=sound.rate,
        reference_text=SENTENCE,
    )
    voice, _ = front.voice_of(request)
    assert record.transcript == voice.transcript != ""
    for name, array in voice.to_arrays().items():
        np.testing.assert_array_equal(arrays[name], array)


def test_what_was_done_to_a_recording_is_noted(desk: VoiceDesk) -> None:
    poor = np.pad(noisy(sentence(), 15), (2 * RATE, 2 * RATE)) * np.float32(0.02)
    notes = " | ".join(desk.add(wav_file(poor, subtype="FLOAT"), plain()).record.notes)
    assert "recording: 3.8 s of silence at its ends cut" in notes
    assert "recording: has noise only 15 dB below the voice; 20 dB or more is better" in notes
    assert "dBFS is brought to -20 dBFS" in notes
    assert "reference_" not in notes


def test_several_speakers_are_suspected(desk: VoiceDesk) -> None:
    both = np.concatenate([read(voice, LONG)[: 5 * RATE] for voice in ("hibari", "joe")])
    alone = desk.add(wav_file(read("joe", LONG)[: 9 * RATE]), plain("alone"))
    assert not any("several speakers" in note for note in alone.record.notes)
    notes = desk.add(wav_file(both), plain()).record.notes
    assert any("several speakers are suspected: its parts are alike by" in n for n in notes)


REFUSED = {
    "short and noisy": (
        lambda: noisy(spoken("joe")[RATE : RATE + RATE // 2], 5),
        "",
        "recording: has 0.* s of speech; 1 s or more is needed; has noise only .* 10 dB",
    ),
    "silent": (lambda: np.zeros(3 * RATE, np.float32), "", "recording: is silent"),
    "hum": (
        lambda: 0.3 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32),
        "",
        "recording: has noise only",
    ),
    "a transcript too long": (
        sentence,
        LONG,
        r"transcript: is too long for 2\.9 s of speech .*; 5 to 102 letters can be said in it",
    ),
    "a transcript too short": (lambda: spoken("joe"), "Hm.", "transcript: is too short for"),
    "a transcript without words": (sentence, "...", "transcript: has nothing to say"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_good_is_refused_with_value_and_limit(desk: VoiceDesk, name: str) -> None:
    make, transcript, problem = REFUSED[name]
    with pytest.raises(InvalidRequest, match=problem):
        desk.add(wav_file(make()), plain(transcript=transcript))
    assert desk.registry.listing() == ([], [])


def test_a_transcript_of_other_words_is_left_out(desk: VoiceDesk) -> None:
    other = "My uncle counted every lamb twice on the green hill."
    record = desk.add(wav_file(sentence()), plain(transcript=other)).record
    assert record.transcript == ""
    assert any(note.startswith("transcript does not fit the recording") for note in record.notes)


def test_an_id_is_given_once(desk: VoiceDesk) -> None:
    data = SPOKEN["heart"].read_bytes()
    with pytest.raises(VoiceExists, match="'joe' is a voice of the model directory"):
        desk.add(data, plain("joe"), replace=True)
    desk.add(data, plain())
    with pytest.raises(VoiceExists, match="'ann' is in the registry already"):
        desk.add(data, plain())
    desk.add(SPOKEN["joe"].read_bytes(), plain(), replace=True)
    assert len(desk.listing().added) == 1
    with pytest.raises(InvalidRequest, match="consent: is empty"):
        desk.add(data, Details("bob"))


def test_removing(desk: VoiceDesk) -> None:
    with pytest.raises(UnknownVoice, match="'joe' belongs to the model directory"):
        desk.remove("joe")
    with pytest.raises(UnknownVoice, match="'ann' is not in the registry"):
        desk.remove("ann")
    desk.add(SPOKEN["heart"].read_bytes(), plain())
    desk.remove("ann")
    assert desk.listing().added == ()


def test_a_pack_is_accepted_by_another_machine(
    desk: VoiceDesk, model: Model, tmp_path: Path
) -> None:
    desk.add(wav_file(sentence()), ANN)
    other = VoiceDesk(model, VoiceRegistry(tmp_path))
    record = other.import_pack(desk.export("ann"))
    assert record == desk.get("ann")
    for name, array in desk.registry.open("ann")[1].items():
        np.testing.assert_array_equal(other.registry.open("ann")[1][name], array)
    with pytest.raises(VoiceExists):
        other.import_pack(desk.export("ann"))
    renamed = other.import_pack(desk.export("ann"), new_id="anna")
    assert renamed.id == "anna" and {r.id for r in other.listing().added} == {"ann", "anna"}
    for bad, error in (("joe", VoiceExists), ("../x", InvalidRequest)):
        with pytest.raises(error):
            other.import_pack(desk.export("ann"), new_id=bad)


def test_a_pack_of_other_encoders_is_refused_by_name(desk: VoiceDesk, tmp_path: Path) -> None:
    desk.add(SPOKEN["heart"].read_bytes(), plain())
    shutil.copytree(EMBEDDED, tmp_path / "model", ignore=shutil.ignore_patterns("llm", "*.safe*"))
    with (tmp_path / "model" / "speaker_encoder.onnx").open("ab") as file:
        file.write(b"\0")
    other = VoiceDesk(open_model(tmp_path / "model"), VoiceRegistry(tmp_path / "voices"))
    with pytest.raises(InvalidRequest, match="pack: 'ann' was made with other encoders"):
        other.import_pack(desk.export("ann"))
    assert other.registry.listing() == ([], [])
    shared = VoiceDesk(open_model(tmp_path / "model"), desk.registry)
    ((record, why),) = shared.listing().misfits
    assert record.id == "ann" and "other encoders" in why and not shared.listing().added


def test_voices_of_the_upstream_project_are_imported(desk: VoiceDesk) -> None:
    said = Details("all", language="zh", consent="of the release", licence="Apache-2.0")
    (record,) = desk.import_file(GOLDEN / "llm_frontend" / "spk2info_async.pt", said)
    assert record.id == "001" and record.origin == "import" and record.licence == "Apache-2.0"
    assert record.transcript == "希望你以后能够做的比我还好呦。"
    assert desk.listing().added == (record,)
    with pytest.raises(VoiceExists):
        desk.import_file(GOLDEN / "llm_frontend" / "spk2info_async.pt", said)


def test_a_file_with_code_in_it_is_not_run(desk: VoiceDesk, tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ModelDirectoryError, match="cannot be read as plain tensors"):
        desk.import_file(tmp_path / "evil.pt")


def test_a_checkpoint_without_encoders_says_what_it_lacks(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("llm", "flow.*", "vocoder.*", "speech_tokenizer.onnx")
    shutil.copytree(EMBEDDED, tmp_path / "model", ignore=ignored)
    desk = VoiceDesk(open_model(tmp_path / "model"), VoiceRegistry(tmp_path / "voices"))
    with pytest.raises(ModelDirectoryError, match=r"lacks speech_tokenizer\.onnx, which turn"):
        desk.add(SPOKEN["heart"].read_bytes(), plain())
    assert isinstance(desk.listing().model, tuple)


def test_a_request_finds_it_in_this_process(
    desk: VoiceDesk, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITONE_VOICES", str(desk.registry.folder))
    front = model.family.load_frontend(EMBEDDED, model.config, Limits(), text_settings())
    with pytest.raises(TritoneError, match="'ann' is not registered"):
        front.voice_of(SynthesisRequest(text="x", voice="ann"))
    desk.add(SPOKEN["heart"].read_bytes(), plain())
    voice, cached = front.voice_of(SynthesisRequest(text="x", voice="ann"))
    assert not cached and len(voice.prompt_tokens)
    assert front.voice_of(SynthesisRequest(text="x", voice="ann")) == (voice, True)
