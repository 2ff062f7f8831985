"""Rates, limits and retries."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from indextts2_acoustic import RELEASED_FLOW, RELEASED_VOCODER

from tritone.errors import EnvironmentProblem
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.rules import IndexTTS2Rules
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import Increment, Prompt, SamplingParams
from tritone.synthesis.rules import Hops, SpeechRules
from tritone.synthesis.values import Segment

NOTHING = np.zeros((0, 80), np.float32)
VOICE = Voice(np.zeros(0, np.int32), NOTHING, NOTHING[:, 0], NOTHING, NOTHING[:, 0])
SEGMENT = Segment(Prompt(embeddings=NOTHING), 8, "Hello.", VOICE)


@dataclass(frozen=True)
class Config:
    sample_rate: int = 22050
    flow: FlowConfig = RELEASED_FLOW
    vocoder: VocoderConfig = RELEASED_VOCODER


def rules(**hops: int) -> IndexTTS2Rules:
    return IndexTTS2Rules(Config(), Hops(**hops))


def codes(*values: int) -> Increment:
    return Increment(np.array(values, np.int32))


def test_rates_are_exact() -> None:
    made: SpeechRules = rules()
    assert made.rates.tokens == 50 and made.rates.sample_rate == 22050
    assert made.rates.frames == Fraction("86.1328125")


def test_no_hop_is_cut_and_the_first_gives_samples_at_once() -> None:
    made = rules()
    assert all(frames_of(made.hops.size(index)) <= made.chunk_frames for index in range(9))
    assert made.first_frames < frames_of(made.hops.first_hop) - 8
    assert rules(first_hop=20, max_hop=40).hops.size(9) == 40
    with pytest.raises(EnvironmentProblem, match="first_hop is 0"):
        rules(first_hop=0)


def test_a_pause_passes_and_an_endless_one_does_not() -> None:
    guard = rules().guard(SEGMENT)
    assert guard.admit(codes(*[52] * 100)) is None and guard.ended(8) is None
    flaw = guard.admit(codes(52))
    assert flaw is not None and flaw.kind == "repetition" and "101 times" in flaw.problem


def test_what_is_no_code_never_reaches_the_flow() -> None:
    found = rules().guard(SEGMENT).outside(codes(8191, 8192))
    assert found is not None and found[0] == 1 and "codes are 0..8191" in found[1].problem


def test_an_early_end_is_a_flaw() -> None:
    guard = rules().guard(SEGMENT)
    guard.admit(codes(1, 2, 3))
    flaw = guard.ended(8)
    assert flaw is not None and flaw.kind == "early_end"


def test_a_greedy_generation_that_failed_is_drawn() -> None:
    made = rules()
    assert made.retried(SamplingParams(top_k=1)).top_k == 30
    assert made.retried(SamplingParams(top_k=5)).top_k == 5
    assert made.retried(SamplingParams()).top_k is None
    assert made.token_bounds(3) == (0, 1500)
    assert made.text_begins(SEGMENT) is None


def test_each_segment_has_a_planner_of_its_own() -> None:
    made = rules()
    (one, voice), (other, _) = made.plan(VOICE, streaming=True), made.plan(VOICE, streaming=True)
    one.push(codes(*[0] * 60))
    assert one.ready and not other.ready and voice is VOICE
