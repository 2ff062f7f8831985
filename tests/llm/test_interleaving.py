"""Text and speech in turns: what is read and when, by hand."""

import json

import cosyvoice3_llm
import llm_model
import numpy as np
import pytest
from open_text import CLOSING, END, FILL, LLM, OFFSET, OTHER, SOS, ids

from tritone.llm.contract import OpenText, Turns
from tritone.llm.interleaving import Drawn, Interleaving

TURNS = Turns(5, 15, OFFSET + FILL, CLOSING)
GOLDEN = json.loads((llm_model.GOLDEN / "llm_meta.json").read_text())["bistream"]


def begun(*text: int, speech: tuple[int, ...] = (), ended: bool = False) -> Interleaving:
    return Interleaving(ids(SOS), OpenText(TURNS, ids(*text), ids(*speech), ended), LLM)


def drawn(state: Interleaving, rows: int, code: int = 0) -> list[Drawn]:
    """Draws of one code until the fill token is due."""
    return [state.drawn(code if state.forced is None else state.forced) for _ in range(rows)]


@pytest.mark.parametrize("run", GOLDEN, ids=range(len(GOLDEN)))
def test_reads_and_draws_are_upstreams(run: dict) -> None:
    """Replayed with the golden tokens: how much is read at a time, and what is no free draw."""
    recorded = tuple(code + OFFSET for code in run["prompt_speech"])
    state, reads, draws = begun(*run["prompt_text"], speech=recorded), [], []
    coming, tokens = iter([*run["text"], None]), iter([*run["tokens"], END])
    fate = Drawn.FILL
    while fate is not Drawn.END:
        while not state.ready:
            item = next(coming)
            state.extend(ids() if item is None else ids(item), ended=item is None)
        reads.append(len(state.take()))
        fate = Drawn.CODE
        while fate is Drawn.CODE:
            row = state.forced
            if row is None:
                row = next(tokens)
                draws.append([len(draws) + draws.count(None), row])
            else:
                draws.append(None)
            fate = state.drawn(row)
            reads += [1] * (fate is Drawn.CODE)
    assert reads == run["forward_input_lengths"]
    sampled = [row for _, row, _ in run["sampled"]]
    assert [draw[1] for draw in draws if draw] == sampled


def test_the_pieces_of_a_text_do_not_matter() -> None:
    def reads(*pieces: int) -> list[list[int]]:
        state, text, found = begun(), list(range(12)), []
        for length in (*pieces, 0):
            state.extend(ids(*text[:length]), ended=length == 0)
            text = text[length:]
            while state.ready:
                found.append(state.take().tolist())
                if CLOSING not in found[-1]:
                    assert drawn(state, 16)[-1] is Drawn.FILL
        return found

    assert reads(12) == reads(*[1] * 12) == reads(7, 5)
    again = OFFSET  # the last code is read twice before the closing id, as upstream does
    assert reads(12) == [[SOS, 0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [again, 10, 11, CLOSING]]


def test_a_short_text_is_read_whole() -> None:
    state = begun(1, 2)
    assert not state.ready
    state.extend(ids(), ended=True)
    assert state.take().tolist() == [SOS, 1, 2, CLOSING]
    state.extend(ids(9), ended=False)
    assert not state.ready and drawn(state, 40) == [Drawn.CODE] * 40
    assert state.drawn(END) is Drawn.END


def test_a_recording_takes_turns_with_its_words() -> None:
    state = begun(*range(8), speech=tuple(range(OFFSET, OFFSET + 20)))
    assert not state.ready, "there are words for the first turn alone"
    state.extend(ids(8, 9), ended=False)
    read = state.take()
    assert read.tolist() == [SOS, *range(5), *range(284, 299), *range(5, 10), *range(299, 304)]
    assert state.places == [0, *range(1, 6), *range(21, 26)]
    assert drawn(state, 11) == [*[Drawn.CODE] * 10, Drawn.FILL]


def test_only_the_stop_id_that_fits_can_be_drawn() -> None:
    logits, state = np.zeros(6564, np.float32), begun(*range(5))
    state.take()
    assert np.flatnonzero(np.isneginf(state.masked(logits))).tolist() == [END, OTHER]
    assert state.drawn(7) is Drawn.CODE
    assert state.drawn(FILL) is Drawn.FILL, "the model may want more text early"
    state.extend(ids(), ended=True)
    state.take()
    assert np.flatnonzero(np.isneginf(state.masked(logits))).tolist() == [OTHER, FILL]
    assert not logits.any()


def test_text_comes_before_speech_where_upstream_speaks_blindly() -> None:
    """An instruction without a recording: upstream says a turn before it has read any text."""
    (run,) = [r for r in cosyvoice3_llm.META["bistream"] if r["case"].startswith("instruct2")]
    assert [row[0] for row in run["fed_rows"][:24]] == ["s", *"ttttttt", *"s" * 15, "t"]
    text = OpenText(TURNS, ids(*range(4)), ids(), ended=False)
    state = Interleaving(ids(SOS, *range(7)), text, LLM)
    assert not state.ready
    state.extend(ids(4), ended=False)
    assert len(state.take()) == 8 + 5
