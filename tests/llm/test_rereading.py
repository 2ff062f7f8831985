"""A growing text that is read anew, by hand."""

import numpy as np
from open_text import CLOSING, CODES, LLM, OFFSET, SOS, ids

from tritone.llm.contract import OpenText, Rereads
from tritone.llm.interleaving import Drawn
from tritone.llm.rereading import Rereading

WAY = Rereads(text=2, ahead=3, closing_id=CLOSING)


def begun(*text: int, speech: tuple[int, ...] = (), ended: bool = False) -> Rereading:
    return Rereading(ids(SOS), OpenText(WAY, ids(*text), ids(*speech), ended), LLM)


def test_speech_stays_behind_the_text_and_is_read_again() -> None:
    state = begun(*range(4), speech=(OFFSET + 9,))
    assert not state.ready
    state.extend(ids(4, 5), ended=False)
    assert state.take().tolist() == [SOS, 0, 1, 2, 3, 4, CLOSING, OFFSET + 9]
    assert state.places == [*range(7)]
    assert not state.waits_for_text(2) and state.drawn(7) is Drawn.CODE
    assert state.waits_for_text(3) and not state.ready, "one id more is no turn"
    state.extend(ids(6), ended=False)
    assert state.take().tolist() == [SOS, *range(7), CLOSING, OFFSET + 9, OFFSET + 7]
    assert not state.waits_for_text(len(state.places)), "what is said for no text is no end"


def test_the_end_of_a_text_is_spoken_without_more() -> None:
    state = begun(*range(5))
    state.take()
    logits = np.zeros(LLM.speech_head_size, np.float32)
    assert np.flatnonzero(np.isneginf(state.masked(logits))).tolist() == [CODES, CODES + 1, 6563]
    assert state.waits_for_text(4)
    state.extend(ids(), ended=True)
    state.extend(ids(8), ended=False)
    assert state.ready and state.take().tolist() == [SOS, *range(5), CLOSING]
    assert not state.waits_for_text(5) and not state.ready
    assert np.array_equal(state.masked(logits), logits)
    assert state.drawn(CODES) is Drawn.END


def test_the_pieces_of_a_text_do_not_matter() -> None:
    def reads(*pieces: int) -> list[int]:
        state, text, found = begun(), list(range(12)), []
        for length in (*pieces, 0):
            state.extend(ids(*text[:length]), ended=length == 0)
            text = text[length:]
            while state.ready:
                found.append(len(state.take()))
                state.waits_for_text(found[-1] - 2)
        return found

    assert reads(12) == reads(*[1] * 12) == reads(7, 5) == [7, 9, 11, 13, 14]
