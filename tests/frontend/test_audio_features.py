import numpy as np
import pytest
from frontend_fixtures import FRONTEND_GOLDEN, GOLDEN
from safetensors.numpy import load_file

from tritone.families.cosyvoice2.voice import prompt_mel
from tritone.frontend.audio.features import kaldi_fbank, whisper_log_mel
from tritone.frontend.audio.resample import resample

FEATURES = load_file(FRONTEND_GOLDEN / "audio_features.safetensors")
CASES = sorted(key.removesuffix(".wav") for key in FEATURES if key.endswith(".wav"))


@pytest.mark.parametrize("case", CASES)
def test_features_equal_upstream(case: str) -> None:
    wav = FEATURES[f"{case}.wav"][0]
    wav24 = resample(wav, 16000, 24000)
    for ours, name, limit in (
        (whisper_log_mel(wav)[None], "logmel128", 1e-4),
        (kaldi_fbank(wav), "fbank80_meannorm", 2e-3),
        (wav24[None], "resample_16k_24k", 2e-6),
        (prompt_mel(wav24), "mel80_24k_TxC", 1e-4),
    ):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, FEATURES[f"{case}.{name}"], rtol=0, atol=limit)


def test_prompt_mel_equals_the_flows_own_golden() -> None:
    golden = load_file(GOLDEN / "token2wav" / "prompt_mel.safetensors")
    mel = prompt_mel(golden["wav"][0])
    np.testing.assert_allclose(mel.T[None], golden["mel"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("feature", [whisper_log_mel, kaldi_fbank, prompt_mel])
def test_silence_is_finite(feature: object) -> None:
    assert callable(feature)
    assert np.isfinite(feature(np.zeros(16000, dtype=np.float32))).all()


def test_frame_counts_at_the_edges() -> None:
    assert whisper_log_mel(np.zeros(319, dtype=np.float32)).shape == (128, 1)
    assert kaldi_fbank(np.zeros(400, dtype=np.float32)).shape == (1, 80)
    assert kaldi_fbank(np.zeros(559, dtype=np.float32)).shape == (1, 80)
    assert prompt_mel(np.zeros(959, dtype=np.float32)).shape == (1, 80)
