"""Many generations at once: the same codes as alone, and an end for each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from indextts2_front import tiny_gpt
from parity.gpt_sessions import generate, onnx_session, torch_session

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import Cancelled, InvalidRequest, Overloaded, StageFailed
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_generation import Drawing, seeded_multinomial
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.gpt_speech import GptSpeech
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.llm.slots.scheduler import SlotLanguageModel

SLOTS = 3


@pytest.fixture(scope="module")
def tiny() -> tuple[Gpt, np.ndarray]:
    with torch.inference_mode():
        gpt, prompt = tiny_gpt()
    return gpt, prompt[0].numpy()


@pytest.fixture(params=["onnx", "torch"])
def session(tiny: tuple[Gpt, np.ndarray], tmp_path: Path, request: Any) -> PairedSlots:
    onnx = onnx_session(tiny[0], tmp_path, "fp32", SLOTS)
    return onnx if request.param == "onnx" else torch_session(tiny[0], SLOTS)


@pytest.fixture
def speech(tiny: tuple[Gpt, np.ndarray], tmp_path: Path, session: PairedSlots) -> GptSpeech:
    return GptSpeech(Checkpoint(tmp_path / DECODER_FILE), tiny[0].config, DrawingConfig())


@pytest.fixture
def model(session: PairedSlots, speech: GptSpeech) -> Iterator[SlotLanguageModel]:
    model = SlotLanguageModel(session, speech, max_waiting=9)
    yield model
    model.close()


@pytest.fixture
def request_(tiny: tuple[Gpt, np.ndarray]) -> GenerationRequest:
    sampling = SamplingParams(seed=1)
    return GenerationRequest(Prompt(embeddings=tiny[1]), 0, 20, sampling)


def test_together_is_as_alone(
    tiny: tuple[Gpt, np.ndarray], model: SlotLanguageModel, request_: GenerationRequest
) -> None:
    """More than there are slots, with prompts of several lengths, that end at different times."""
    gpt, prompt = tiny
    requests = [
        replace(
            request_,
            prompt=Prompt(embeddings=prompt[seed % 3 :]),
            max_tokens=20 - seed,
            sampling=SamplingParams(seed=seed),
        )
        for seed in range(8)
    ]
    generations = [model.submit(one) for one in requests]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: Increment.joined(list(one)), generations))
    reference = torch_session(gpt)
    for seed, increment in enumerate(found):
        drawing = Drawing(gpt.config, DrawingConfig(), seeded_multinomial(seed))
        rows = torch.from_numpy(prompt[seed % 3 :])[None]
        alone = list(generate(reference, gpt, rows, drawing, 20 - seed))
        assert increment.ids.tolist() == [one.code for one in alone] and len(alone) > 3
        assert increment.latents is not None
        beside = np.stack([one.latent for one in alone])
        np.testing.assert_allclose(increment.latents, beside, atol=2e-5)


def test_cancelled_and_left_generations_make_room(
    model: SlotLanguageModel, request_: GenerationRequest
) -> None:
    long = replace(request_, min_tokens=60, max_tokens=60)
    cancelled = model.submit(long)
    cancelled.cancel()
    with pytest.raises(Cancelled):
        list(cancelled)
    for _ in range(15):
        next(iter(model.submit(long)))
    assert len(Increment.joined(list(model.submit(long)))) == 60


def test_every_place_of_a_code_can_be_reached(
    tiny: tuple[Gpt, np.ndarray], model: SlotLanguageModel, request_: GenerationRequest
) -> None:
    config, rows = tiny[0].config, tiny[1]
    longest = Prompt(embeddings=np.resize(rows, (config.most_prompt, config.width)))
    most = config.most_codes
    whole = replace(request_, prompt=longest, min_tokens=most, max_tokens=most + 100)
    assert len(Increment.joined(list(model.submit(whole)))) == most


def test_more_than_may_wait_are_refused(
    session: PairedSlots, speech: GptSpeech, request_: GenerationRequest
) -> None:
    """The first streams get their first code when the model is closed."""
    model = SlotLanguageModel(session, speech, max_waiting=1)
    session.prefill = partial(when_closed, model, session.prefill)  # type: ignore[method-assign]
    taken = [model.submit(request_) for _ in range(SLOTS + 1)]
    with pytest.raises(Overloaded, match=f"limits: {SLOTS} and 1"):
        model.submit(request_)
    model.close()
    for generation in taken:
        with pytest.raises(StageFailed, match="was closed"):
            list(generation)
    with pytest.raises(StageFailed, match="is closed"):
        model.submit(request_)


def when_closed(model: SlotLanguageModel, prefill: Any, *of_call: Any) -> Any:
    with model._changed:
        model._changed.wait_for(lambda: model._closed)
    return prefill(*of_call)


def test_a_broken_stream_harms_no_other(
    tiny: tuple[Gpt, np.ndarray], model: SlotLanguageModel, request_: GenerationRequest
) -> None:
    """Nor one that has its slot afterwards."""
    expected = Increment.joined(list(model.submit(request_)))
    config = tiny[0].config
    huge = np.full((config.most_prompt, config.width), 3e38, np.float32)  # more than others read
    broken = model.submit(replace(request_, prompt=Prompt(embeddings=huge)))
    beside = model.submit(request_)
    with suppress(StageFailed):  # of logits that are no numbers, where a runtime tells
        list(broken)
    after = [model.submit(request_) for _ in range(SLOTS)]
    for well in (beside, *after):
        assert Increment.joined(list(well)).ids.tolist() == expected.ids.tolist()


def test_a_latent_that_is_no_numbers_ends_its_stream_alone(
    session: PairedSlots, model: SlotLanguageModel, request_: GenerationRequest
) -> None:
    """Also where the logits are, which another row has."""
    latent = session.latent

    def broken(row: int) -> np.ndarray:  # of the second stream in a step
        return np.full_like(latent(row), np.nan) if row == 1 else latent(row)

    session.latent = broken  # type: ignore[method-assign]
    long = replace(request_, min_tokens=60, max_tokens=60)
    with model._changed:  # both are there before a step
        first, second = model.submit(long), model.submit(long)
    with pytest.raises(StageFailed, match="latent has values that are NaN"):
        list(second)
    assert len(Increment.joined(list(first))) == 60


def test_parts_of_a_prompt_are_copied_once(
    tiny: tuple[Gpt, np.ndarray], session: PairedSlots
) -> None:
    """For the row that gives latents; it is as if the prompt had been read at once."""
    prompt, inner, copied = tiny[1], session._session, []
    width, half = tiny[0].config.width, len(prompt) // 2
    move = inner.move

    def recorded(source: int, target: int, length: int, start: int = 0) -> None:
        copied.append((source, target, length - start))
        move(source, target, length, start)

    inner.move = recorded  # type: ignore[method-assign]
    session.prefill(0, prompt)
    session.prefill(1, prompt[:half])
    session.prefill(1, prompt[half:], half)
    assert copied == [(0, 1, len(prompt)), (2, 3, half), (2, 3, len(prompt) - half)]
    rows = np.repeat(np.random.default_rng(3).normal(size=(1, 2 * width)), 2, axis=0)
    session.decode(rows.astype(np.float32), np.full(2, len(prompt), np.int32))
    np.testing.assert_allclose(session.latent(1), session.latent(0), atol=1e-5)


@pytest.mark.parametrize("session", ["onnx"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": Prompt(ids=np.ones(3, np.int32))}, "input_ids.*prompt_embeddings alone"),
        ({"prompt": Prompt(embeddings=np.ones((3, 47), np.float32))}, r"shape \(3, 47\)"),
        ({"prompt": Prompt(embeddings=np.ones((43, 48), np.float32))}, "n of 1 to 42"),
        ({"prompt": Prompt(embeddings=np.full((3, 48), np.nan, np.float32))}, "NaN"),
        ({"max_tokens": 0}, "max_tokens.*0 is below 1"),
        ({"min_tokens": -1}, "min_tokens.*-1 is below 0"),
        ({"sampling": SamplingParams(top_k=0)}, "top_k"),
    ],
)
def test_what_cannot_be_served_is_refused(
    model: SlotLanguageModel, request_: GenerationRequest, changes: dict, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        model.submit(replace(request_, **changes))
