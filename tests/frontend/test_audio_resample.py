import numpy as np
import pytest
from frontend_fixtures import FRONTEND_GOLDEN
from safetensors.numpy import load_file

from tritone.frontend.audio.resample import resample

GOLDEN = load_file(FRONTEND_GOLDEN / "resample.safetensors")
PAIRS = sorted(key.removesuffix(".in") for key in GOLDEN if key.endswith(".in"))


@pytest.mark.parametrize("pair", PAIRS)
def test_equals_torchaudio(pair: str) -> None:
    old, new = (int(rate) for rate in pair.split("_"))
    ours = resample(GOLDEN[f"{pair}.in"], old, new)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, GOLDEN[f"{pair}.out"], rtol=0, atol=2e-6)


def test_the_same_rate_changes_nothing() -> None:
    wav = np.linspace(-1, 1, 100, dtype=np.float32)
    assert resample(wav, 16000, 16000) is wav


@pytest.mark.parametrize(("old", "new"), [(44101, 24000), (191999, 16000), (8001, 24000)])
def test_rates_without_a_common_factor_keep_a_tone(old: int, new: int) -> None:
    """A 440 Hz tone stays one, and an odd rate costs no memory of old * new."""
    wav = np.sin(2 * np.pi * 440 * np.arange(old // 2) / old).astype(np.float32)
    ours = resample(wav, old, new)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(ours)) / new)
    assert len(ours) == -(-new * len(wav) // old)
    middle = slice(len(ours) // 4, 3 * len(ours) // 4)
    np.testing.assert_allclose(ours[middle], expected[middle], atol=5e-3)


@pytest.mark.parametrize("samples", [0, 1, 2, 7])
def test_very_short_input_has_the_right_length(samples: int) -> None:
    wav = np.ones(samples, dtype=np.float32)
    assert len(resample(wav, 16000, 24000)) == -(-3 * samples // 2)
    assert len(resample(wav, 48000, 16000)) == -(-samples // 3)
