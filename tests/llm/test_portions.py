"""How many tokens leave together."""

from tritone.llm.portions import PAUSE_S, Portions


def test_tokens_leave_in_larger_portions_once_speech_is_ahead() -> None:
    """At 25 tokens a second of speech, 100 tokens a second."""
    now, portions = 0.0, []
    ahead = Portions(25.0, lambda: now)
    waited = 0.0
    while now < 4.0:
        tokens = max(1, int(100 * waited))
        waited = max(0.01, ahead.pause(tokens))
        portions.append(tokens)
        now += waited
    begins = next(place for place, tokens in enumerate(portions) if tokens > 1)
    assert 60 < begins < 80, "until two seconds of speech is in store each token leaves at once"
    assert set(portions[begins:]) == {4}
    now += 14.0  # the language model was busy with others: playback may have caught up
    assert ahead.pause(1) == PAUSE_S
