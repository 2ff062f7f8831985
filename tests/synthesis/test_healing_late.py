"""Each kind of flaw where something of the segment has been heard already: it ends cleanly, and is
counted."""

import numpy as np
import pytest
from fake_stages import (
    CONFIG,
    SAMPLES,
    FakeStages,
    codes,
    request,
    segment,
    sound_of,
    speak,
    spoil,
    wave_of,
)
from frontend_fixtures import OFFSET

from tritone.arrays import Float32
from tritone.errors import StageFailed
from tritone.families.cosyvoice2.rules import CosyVoice2Rules
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.timing import Timing

GOOD, LONG = codes(70, 900), codes(200, 900)
PROMPT = segment("one", prompt=30)
FADE = CONFIG.sample_rate // 50


@pytest.mark.parametrize("where", ["frames", "sound"])
def test_what_breaks_later_ends_in_silence_and_with_an_error(where: str) -> None:
    """The samples before it leave, fade out, and 20 ms of silence follow."""

    def broken(index: int, values: Float32) -> Float32:
        calls.append(index)
        values = values.copy()
        if len(calls) == 3:
            values[..., values.shape[-1] // 2 :] = np.nan
        return values

    calls: list[int] = []
    stages = FakeStages([segment("one", 40), segment("two")], [LONG, GOOD], **{where: broken})
    heard, timing = [], Timing(CONFIG.sample_rate)
    rules = CosyVoice2Rules(CONFIG, Hops(max_hop=25))
    what = {"frames": "token2wav: gave frames", "sound": "vocoder: gave samples"}[where]
    with pytest.raises(
        StageFailed, match=rf"^{what} that are not finite, after \d\.\d s of audio$"
    ):
        heard.extend(synthesize(request(), stages, rules, Settings(), timing=timing))
    wave, tokens = wave_of(heard), {"frames": 28 + 25 + 12.5, "sound": 28 + 12.5}[where]
    said = int(tokens * SAMPLES)
    assert len(wave) == said + FADE and not wave[said:].any()
    assert np.array_equal(wave[: said - FADE], sound_of(LONG)[: said - FADE])
    assert (np.diff(wave[said - FADE + 1 : said]) < 0).all() and np.isfinite(wave).all()
    assert stages.all_freed and not heard[-1].last
    assert timing.flaws["not_finite"] == 1 and timing.retries == 0


def test_what_breaks_off_ends_at_the_last_gap_between_words() -> None:
    """The gap is of the tokens 930 to 932; what follows it is a word that was begun."""
    gap = slice(30 * SAMPLES, 33 * SAMPLES)

    def words(index: int, wave: Float32) -> Float32:
        begin, made[index] = made.get(index, 0), made.get(index, 0) + len(wave)
        place = np.arange(begin, begin + len(wave))
        return np.where((gap.start <= place) & (place < gap.stop) & (index == 0), 0, wave)

    made: dict[int, int] = {}
    speech = [*LONG[:37], 7000]
    chunks = speak(FakeStages([segment("one"), segment("two")], [speech, GOOD], sound=words))
    wave = wave_of(chunks)
    assert np.array_equal(wave[: gap.start], sound_of(LONG[:30]))
    assert not wave[gap.start : gap.stop + FADE].any()
    assert np.array_equal(wave[gap.stop + FADE :], sound_of(GOOD))
    assert chunks[-1].timing["flaws"] == {"bad_id": 1}


@pytest.mark.parametrize("bad", [-1, -OFFSET, 6561, 7000])
@pytest.mark.parametrize("increment", [1, 4, 60])
def test_ids_outside_the_codebook_end_a_segment_that_was_heard(bad: int, increment: int) -> None:
    speech = [*LONG[:41], bad, *LONG[42:60]]
    stages = FakeStages([segment("one"), segment("two")], [speech, GOOD], increment=increment)
    if increment == 60:  # nothing was heard
        stages.speeches = [speech, LONG[:60], GOOD]
    chunks = speak(stages)
    taken = [token for flow in stages.flows for step in flow.tokens for token in step]
    assert taken == (LONG[:60] if increment == 60 else LONG[:41]) + GOOD
    assert chunks[-1].timing["flaws"] == {"bad_id": 1}
    wave = wave_of(chunks)
    cut = 0 if increment == 60 else FADE
    assert len(wave) == len(taken) * SAMPLES + cut
    assert not wave[len(wave) - 70 * SAMPLES - cut : len(wave) - 70 * SAMPLES].any()
    assert chunks[-1].last


def test_copies_of_the_prompt_end_a_segment_that_was_heard() -> None:
    speech = [*LONG[:40], *PROMPT.voice.prompt_tokens[5:], *LONG]
    chunks = speak(FakeStages([PROMPT], [speech]))
    assert chunks[-1].timing["flaws"] == {"transcript": 1}
    assert len(wave_of(chunks)) == (40 + 6) * SAMPLES + FADE


def test_clipping_that_comes_later_is_limited_to_full_scale_and_counted() -> None:
    stages = FakeStages([segment("one", 40)], [LONG], sound=spoil(1.5, after=2))
    chunks = speak(stages)
    wave = wave_of(chunks)
    assert len(wave) == len(LONG) * SAMPLES and wave.max() == 1
    assert np.array_equal(wave[: 28 * SAMPLES], sound_of(LONG)[: 28 * SAMPLES])
    flaws = chunks[-1].timing["flaws"]
    assert set(flaws) == {"clipping"} and flaws["clipping"] == len(chunks) - 2
    assert chunks[-1].timing["retries"] == 0


def test_a_pause_that_is_too_long_is_shortened_where_speech_was_heard() -> None:
    speech = codes(40, 900) + codes(80, 1) + codes(40, 900)
    quiet = FakeStages([segment("one", 40)], [speech], sound=lambda _, w: w * (w > 0.1))
    chunks = speak(quiet)
    said = sound_of(codes(40, 900))
    expected = np.concatenate([said, np.zeros(2 * CONFIG.sample_rate, np.float32), said])
    assert np.array_equal(wave_of(chunks), expected)
    assert chunks[-1].timing["flaws"] == {"silence": 1} and len(quiet.asked) == 1
