"""What is computed for a stream ends in the middle once nobody waits for it."""

import threading

import numpy as np
import pytest
import torch
from fake_stages import RULES, codes, one, request
from token2wav_model import some_codes, some_voice, tiny_stage, tiny_vocoder
from waiting import HANG_S

from tritone.acoustic.filter import ChannelsLastFilter
from tritone.acoustic.flow_stage import StageStep
from tritone.acoustic.unwanted import check_wanted, ending_when
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.errors import Cancelled
from tritone.synthesis.pipeline import Settings, synthesize


class After:
    """Says yes from the look after so many on."""

    def __init__(self, looks: int) -> None:
        self.looks, self._left = 0, looks

    def __call__(self) -> bool:
        self.looks += 1
        return self.looks > self._left


def test_a_step_of_the_flow_ends_between_two_euler_steps() -> None:
    stage, voice, tokens = tiny_stage(), some_voice(40), some_codes(60)
    expected, _ = stage.step(tokens, stage.open(voice), finalize=True)
    for looks in (0, 1, 3):
        unwanted = After(looks)
        (result,) = stage.step_all([StageStep(tokens, stage.open(voice), True, unwanted)])
        assert isinstance(result, Cancelled)
        assert unwanted.looks == looks + 1, "nothing is computed once it was heard"
    mel, _ = stage.step(tokens, stage.open(voice), finalize=True)
    assert np.array_equal(mel, expected), "what others share is as it was"


def test_one_that_is_wanted_is_computed_whoever_it_goes_with() -> None:
    stage, voice, tokens = tiny_stage(), some_voice(40), some_codes(60)
    expected, _ = stage.step(tokens, stage.open(voice), finalize=True)
    steps = [
        StageStep(tokens, stage.open(voice), True, After(0)),
        StageStep(tokens, stage.open(voice), True),
        StageStep(tokens, stage.open(voice), True, After(1)),
    ]
    before_it_began, wanted, begun = stage.step_all(steps)
    assert isinstance(before_it_began, Cancelled)
    for result in (wanted, begun):  # which goes on with the other one
        assert not isinstance(result, Exception)
        np.testing.assert_allclose(result[0], expected, atol=1e-5)


def test_an_utterance_in_one_pass_ends_too() -> None:
    stage, unwanted = tiny_stage(), After(1)
    with pytest.raises(Cancelled, match="no longer wants the audio"):
        stage.whole(some_codes(33), some_voice(12), unwanted)
    assert unwanted.looks == 2


def test_a_vocoder_ends_between_two_windows() -> None:
    stage, unwanted = VocoderStage(tiny_vocoder()), After(1)
    frames = np.zeros((80, 900), np.float32)
    with ending_when(unwanted), pytest.raises(Cancelled):
        stage.step(frames, stage.start(seed=1, speed=1.0), finalize=True)
    assert unwanted.looks == 2


def test_a_vocoder_ends_within_a_window_on_a_cpu() -> None:
    vocoder = tiny_vocoder()
    vocoder.filter = ChannelsLastFilter(vocoder.network, torch.float32)
    stage, frames = VocoderStage(vocoder), np.zeros((80, 60), np.float32)
    everything = After(10**9)
    with ending_when(everything):
        stage.step(frames, stage.start(seed=1, speed=1.0), finalize=True)
    assert everything.looks > 10, "some to each window"
    for looks in (2, everything.looks - 1):
        unwanted = After(looks)
        with ending_when(unwanted), pytest.raises(Cancelled):
            stage.step(frames, stage.start(seed=1, speed=1.0), finalize=True)
        assert unwanted.looks == looks + 1


def test_closing_a_stream_ends_what_this_process_computes_for_it() -> None:
    """As in a program that has no server. The second hop would take for ever."""
    computing = threading.Event()

    def compute(event: str) -> None:
        if event == "flow 0" and stages.events.count(event) == 2:
            computing.set()
            while True:
                check_wanted()

    stages = one(codes(400), fail=compute)
    chunks = synthesize(request(), stages, RULES, Settings())
    next(chunks)
    assert computing.wait(HANG_S)
    chunks.close()
    assert stages.all_freed
