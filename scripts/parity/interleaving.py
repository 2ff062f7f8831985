"""Generations whose text comes while they speak, against upstream's seeded ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from parity import ParityResult, equal
from parity.one_stream import Model, torch_multinomial
from tritone.arrays import Float32
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import OpenText, SamplingParams, Turns
from tritone.llm.interleaving import Drawn, Interleaving
from tritone.llm.sampler import Sampler


@dataclass(frozen=True)
class Draws:
    """How a golden run drew. added: to rows of the logits. never: rows that it could not draw,
    since upstream would break off there. between: rows that upstream bans until the text has ended,
    where they are not those that are banned here."""

    added: Mapping[int, float]
    never: Sequence[int]
    between: Sequence[int] = ()

    def logits(self, logits: Float32, state: Interleaving, *, closed: bool) -> Float32:
        logits = logits.copy()
        for row, value in self.added.items():
            logits[row] += value
        logits[list(self.never)] = -1e4
        if not self.between:
            return state.masked(logits)
        if not closed:
            logits[list(self.between)] = -np.inf
        return logits


def interleaved_case(
    name: str, run: dict[str, Any], model: Model, turns: Turns, draws: Draws, head: int = 0
) -> ParityResult:
    """head: ids of the prompt's text that stand before the turns. The text comes id by id, as it
    does upstream."""
    state = _begun(run, model.config, turns, head)
    sampler = Sampler(
        SamplingConfig(), SamplingParams(), waiting=slice(0), multinomial=torch_multinomial
    )
    torch.manual_seed(run["torch_seed"])
    model.clear()
    tokens: list[int] = []
    coming = iter([*run["text"], None])
    drawn = Drawn.FILL
    while drawn is not Drawn.END:
        while not state.ready:
            item = next(coming)
            state.extend(np.array([] if item is None else [item], np.int32), ended=item is None)
        ids = state.take()
        logits, drawn = model.read(ids), Drawn.CODE
        while drawn is Drawn.CODE:
            seen = draws.logits(logits, state, closed=ids[-1] == turns.closing_id)
            row = sampler.draw(seen) if state.forced is None else state.forced
            drawn = state.drawn(row)
            sampler.emit(row)
            if drawn is Drawn.CODE:
                tokens.append(row)
                logits = model.feed(row)
    note = f"of {len(run['tokens'])} tokens"
    return equal(f"llm/interleaved/{name}", tokens, run["tokens"], note=note)


def _begun(run: dict[str, Any], config: SpeechIds, turns: Turns, head: int) -> Interleaving:
    before = run["prompt_text"]
    opening = np.array([config.sos_id, *before[:head]], np.int32)
    recorded = np.array(run["prompt_speech"], np.int32) + np.int32(config.speech_offset)
    text = OpenText(turns, np.array(before[head:], np.int32), recorded, ended=False)
    return Interleaving(opening, text, config)
