"""The seam measures on signals whose answer is known."""

import numpy as np

from evaluation.seams import compare_with_elsewhere, measure, seams_of
from tritone.arrays import Float32

RATE = 24000


def tone(seconds: float = 0.5) -> Float32:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


def test_equal_waveforms_have_no_seam() -> None:
    report = measure(tone(), tone(), [4000, 8000], RATE)
    assert (report.error_db, report.level_db, report.click) == (-180.0, 0.0, 1.0)
    assert report.seams == 2


def test_error_is_relative() -> None:
    wave = tone()
    assert abs(measure(wave * np.float32(1.01), wave, [], RATE).error_db - -40) < 0.01


def test_level_is_looked_for_at_the_seam_alone() -> None:
    wave = tone()
    louder = wave.copy()
    louder[6000:6960] *= np.float32(1.08)
    near = measure(louder, wave, [6500], RATE)
    assert abs(near.level_db - 20 * np.log10(1.08)) < 0.05
    assert measure(louder, wave, [2000], RATE).level_db == 0.0


def test_a_step_is_a_click() -> None:
    wave = tone()
    stepped = wave.copy()
    stepped[6000:] += np.float32(0.02)
    assert measure(stepped, wave, [6000], RATE).click > 10
    assert measure(stepped, wave, [3000], RATE).click == 1.0


def test_seams_lie_between_chunks() -> None:
    chunks = [np.zeros(n, np.float32) for n in (0, 5, 7, 0, 2)]
    assert seams_of(chunks) == [5, 12]


def noise(seconds: float = 1.0) -> Float32:
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def test_seams_like_any_other_place_have_middling_ranks() -> None:
    seams = [3000 + 960 * i for i in range(20)]
    ranks = compare_with_elsewhere(noise(3.0), seams, RATE)
    assert len(ranks.click) == len(ranks.level) == 20
    assert 0.25 < np.mean(ranks.click) < 0.75
    assert 0.25 < np.mean(ranks.level) < 0.75


def test_a_click_and_a_step_in_level_rank_above_everything_else() -> None:
    stepped = tone(1.0)
    stepped[12000:] += np.float32(0.02)
    assert compare_with_elsewhere(stepped, [12000], RATE).click == (1.0,)
    louder = noise()
    louder[12000:] *= np.float32(3)
    assert compare_with_elsewhere(louder, [12000], RATE).level == (1.0,)


def test_nothing_is_ranked_where_there_is_nothing_to_compare_with() -> None:
    ranks = compare_with_elsewhere(tone(0.1), [1200], RATE)
    assert ranks.click == ranks.level == ()
