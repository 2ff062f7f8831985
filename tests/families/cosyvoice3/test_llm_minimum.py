"""No stop id may be drawn before the minimum, whatever runs the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cosyvoice3_llm import build_tiny
from llm_model import GREEDY, Built, TinyConfig, tokens_of
from safetensors.torch import load_file, save_file
from trtllm_fixtures import Install, install, write_engine

from tritone.errors import InvalidRequest
from tritone.llm.checkpoint import BANNED, logit_bias
from tritone.llm.contract import GenerationRequest, LanguageModel, Prompt, SamplingParams
from tritone.llm.slots.opening import open_onnx
from tritone.llm.torch.opening import open_torch
from tritone.llm.trtllm.executor import open_executor
from tritone.llm.trtllm.llm_api import open_llm_api
from tritone.serving.generation_tensors import generation_tensors

SAMPLED = SamplingParams(seed=3)


def request(built: Built, least: int, most: int = 20, **options: Any) -> GenerationRequest:
    llm = built[1].llm
    ids = np.array([llm.sos_id, 5, 6, llm.task_id, llm.speech_offset + 9], np.int32)
    return GenerationRequest(Prompt(ids=ids), least, most, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory)


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A checkpoint that would end at once, with any of its stop ids."""
    directory = tmp_path_factory.mktemp("ending")
    config = build_tiny(directory)
    path = directory / "llm" / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.bias"][list(config.llm.stop_ids)] = 100
    save_file(tensors, path)
    return directory, config


def opened(built: Built, runtime: str) -> LanguageModel:
    if runtime == "onnx":
        return open_onnx(*built, precision="fp32", slots=1, max_tokens=64)
    return open_torch(*built, device="cpu", dtype="fp32", slots=1, max_tokens=64)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_speech_ends_no_earlier(ending: Built, runtime: str, sampling: SamplingParams) -> None:
    model, codes = opened(ending, runtime), ending[1].llm.speech_rows
    try:
        for least in (0, 1, 7):
            tokens = tokens_of(model.submit(request(ending, least, sampling=sampling)))
            assert len(tokens) == least
            assert all(codes.start <= token < codes.start + 6561 for token in tokens)
        assert len(tokens_of(model.submit(request(ending, 20, 20, sampling=sampling)))) == 20
    finally:
        model.close()


def test_other_checkpoints_hold_back_the_regular_end_alone(ending: Built) -> None:
    llm = ending[1].llm.model_copy(update={"all_stops_wait": False})
    model = opened((ending[0], TinyConfig(llm, ending[1].sampling)), "onnx")
    try:
        assert tokens_of(model.submit(request(ending, 7))) == []
    finally:
        model.close()


def test_prompts_may_have_the_control_rows_and_no_padding(built: Built) -> None:
    model, llm = opened(built, "onnx"), built[1].llm
    try:
        assert len(tokens_of(model.submit(request(built, 3, 3)))) == 3
        padding = np.array([llm.sos_id, max(llm.stop_ids) + 1], np.int32)
        with pytest.raises(InvalidRequest, match="is outside"):
            model.submit(GenerationRequest(Prompt(ids=padding), 1, 1))
    finally:
        model.close()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield from install(tmp_path, monkeypatch)


def test_the_bias_leaves_one_end(built: Built) -> None:
    """A runtime of others holds back one id alone."""
    llm = built[1].llm
    bias = logit_bias(built[0], llm)
    spoken = [*range(llm.speech_offset, llm.speech_offset + 6561), llm.stop_ids[0]]
    assert np.flatnonzero(bias == 0).tolist() == spoken
    assert set(np.delete(bias, spoken)) == {np.float32(BANNED)}


def test_the_wire_says_the_regular_end(built: Built) -> None:
    llm = built[1].llm
    sent = generation_tensors(request(built, 4), built[1], logit_bias(built[0], llm))
    assert sent["stop_words_list"].tolist() == [[[llm.stop_ids[0]], [1]]]
    assert sent["end_id"] == sent["pad_id"] == llm.stop_ids[0] == 158486
    assert sent["min_length"] == 4


def test_an_executor_is_told_the_regular_end(built: Built, installed: Install) -> None:
    installed("0.20.0")
    llm = built[1].llm
    write_engine(built[0], llm.vocab_size)
    model = open_executor(*built, slots=2)
    try:
        from tensorrt_llm.bindings.executor import Executor

        generation = model.submit(request(built, 4))
        sent = Executor.opened[-1].requests[1]
        assert (sent.end_id, sent.stop_words) == (llm.stop_ids[0], [[llm.stop_ids[0]]])
        assert sent.sampling_config.min_tokens == 4
        np.testing.assert_array_equal(sent.embedding_bias.numpy(), logit_bias(built[0], llm))
        Executor.opened[-1].give(1, [llm.speech_offset + 5, llm.stop_ids[0]], final=True)
        assert tokens_of(generation) == [llm.speech_offset + 5]
    finally:
        model.close()


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_the_llm_api_ends_no_earlier(
    built: Built, installed: Install, monkeypatch: pytest.MonkeyPatch, sampling: SamplingParams
) -> None:
    installed("1.2.0")
    llm = built[1].llm
    model = open_llm_api(*built)
    try:
        from tensorrt_llm.llmapi import LLM

        def ending(_: LLM, tokens: list[int]) -> torch.Tensor:
            logits = torch.zeros(llm.vocab_size)
            logits[list(llm.stop_ids)] = 100
            return logits + torch.randn(
                llm.vocab_size, generator=torch.Generator().manual_seed(len(tokens))
            )

        monkeypatch.setattr(LLM, "logits", ending)
        for least in (0, 6):
            assert len(tokens_of(model.submit(request(built, least, sampling=sampling)))) == least
        assert LLM.opened[-1].outputs[-1]._params.stop_token_ids == [llm.stop_ids[0]]
    finally:
        model.close()
