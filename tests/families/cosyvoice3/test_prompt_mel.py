"""The mel of a prompt, and which family a voice is of by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cosyvoice3_frontend_fixtures import byte_model, cosyvoice3_voice
from frontend_fixtures import FRONTEND_GOLDEN, voice
from paths import GOLDEN
from safetensors.numpy import load_file

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.frontend import PromptFrontend
from tritone.families.cosyvoice2.reference import load_reader
from tritone.families.cosyvoice2.voice import Voice as CosyVoice2Voice
from tritone.families.cosyvoice3.config import TextConfig
from tritone.families.cosyvoice3.frontend import CosyVoice3Frontend
from tritone.families.cosyvoice3.voice import Voice, import_spk2info, prompt_mel
from tritone.frontend.audio.resample import resample
from tritone.frontend.voices import VoiceStore, load_voice, save_voice
from tritone.synthesis.values import SynthesisRequest
from tritone.voice import open_voice, pack

SYSTEM = "You are a helpful assistant.<|endofprompt|>"
PROMPTS = load_file(FRONTEND_GOLDEN / "prompt_frontend.safetensors")
WAV, RATE = PROMPTS["p1.wav_TxCh"][:, 0], 24000


def test_the_mel_equals_upstream() -> None:
    golden = load_file(GOLDEN / "cosyvoice3" / "prompt_mel.safetensors")
    mel = prompt_mel(golden["wav"][0])
    np.testing.assert_allclose(mel.T[None], golden["mel"], rtol=0, atol=1e-4)


def test_a_recording_is_read_with_it(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path)
    read = load_reader(folder, config.llm.speech_codes, Voice).read(WAV, RATE)
    assert isinstance(read, Voice)
    whole = prompt_mel(resample(WAV, RATE, 24000))
    np.testing.assert_array_equal(read.prompt_mel, whole[: len(read.prompt_mel)])
    request = SynthesisRequest(text="hello.", reference_wav=WAV, reference_rate=RATE)
    cloned, _ = CosyVoice3Frontend(folder, config).voice_of(request)
    assert isinstance(cloned, Voice)


def test_a_voice_comes_back_from_its_file_and_from_the_wire(tmp_path: Path) -> None:
    ours = cosyvoice3_voice(5, "so")
    save_voice(tmp_path / "me.safetensors", ours)
    for back in (
        load_voice(tmp_path / "me.safetensors", Voice),
        open_voice(Voice, pack(ours.to_arrays()), "prepared_voice", "so"),
    ):
        assert isinstance(back, Voice) and back.transcript == "so"
        np.testing.assert_array_equal(back.prompt_mel, ours.prompt_mel)


def test_a_voice_of_cosyvoice2_is_refused(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path, cloning=False)
    save_voice(VoiceStore(folder).path("old"), voice(5))
    frontend: PromptFrontend = CosyVoice3Frontend(folder, config)
    with pytest.raises(ModelDirectoryError, match=r"old\.safetensors: is of another .* 8000 Hz"):
        frontend.voice_of(SynthesisRequest(text="hello.", voice="old"))
    with pytest.raises(InvalidRequest, match="this family's to 12000 Hz; make the voice anew"):
        open_voice(Voice, pack(voice(5).to_arrays()), "prepared_voice")


def test_cosyvoice2_refuses_a_voice_of_cosyvoice3(tmp_path: Path) -> None:
    save_voice(tmp_path / "new.safetensors", cosyvoice3_voice(5))
    with pytest.raises(ModelDirectoryError, match="its mel reaches to 12000 Hz"):
        load_voice(tmp_path / "new.safetensors", CosyVoice2Voice)
    damaged = {**cosyvoice3_voice(5).to_arrays(), "mel_top_hz": np.zeros(2, np.float32)}
    with pytest.raises(ValueError):
        Voice.from_arrays(damaged)


def spk2info(path: Path, transcript: str) -> Path:
    tokens, mel = torch.zeros(1, 3, dtype=torch.int32), torch.zeros(1, 6, 80)
    entry = {"speech_token": tokens, "speech_feat": mel, "embedding": torch.ones(1, 192)}
    torch.save({"me": {**entry, "prompt_text": transcript}}, path)
    return path


@pytest.mark.parametrize("transcript", ["the words", f"{SYSTEM}the words"])
def test_imported_voices_are_cosyvoice3s_without_the_systems_words(
    tmp_path: Path, transcript: str
) -> None:
    path = spk2info(tmp_path / "s.pt", transcript)
    imported = import_spk2info(path, str, TextConfig())["me"]
    assert type(imported) is Voice
    assert imported.transcript == "the words"
    assert imported.prompt_mel.shape == (6, 80)


def test_an_imported_transcript_with_other_words_before_it_is_named(tmp_path: Path) -> None:
    path = spk2info(tmp_path / "s.pt", "Be loud.<|endofprompt|>the words")
    with pytest.raises(ModelDirectoryError, match=r"s\.pt: voice 'me': its transcript has 'Be"):
        import_spk2info(path, str, TextConfig())
