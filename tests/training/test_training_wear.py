"""Recordings made worse: as long as before, bounded, and still the same speech."""

import numpy as np

from training.teachers import RATE
from training.wear import worn

TIME = np.arange(2 * RATE) / RATE
SPEECH = (0.2 * np.sin(2 * np.pi * 220 * TIME) * (1 + np.sin(2 * np.pi * 3 * TIME))).astype(
    np.float32
)


def test_every_kind_of_wear_keeps_length_and_bounds() -> None:
    levels, likeness = [], []
    for seed in range(40):
        found = worn(SPEECH, np.random.default_rng(seed))
        assert found.shape == SPEECH.shape and found.dtype == np.float32
        assert np.isfinite(found).all() and np.abs(found).max() <= 1
        levels.append(float(np.sqrt((found**2).mean())))
        likeness.append(float(np.corrcoef(found, SPEECH)[0, 1]))
    assert max(levels) / min(levels) > 10, "levels must vary as people's do"
    assert np.median(np.abs(likeness)) > 0.7 and min(likeness) < 0.99


def test_the_same_seed_wears_alike() -> None:
    first, same, other = (worn(SPEECH, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
