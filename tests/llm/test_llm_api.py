"""The language model on TensorRT-LLM's LLM API, with a stand-in for TensorRT-LLM."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llm_model import Built, request, tokens_of
from parity.llm import chi_squared_p_value
from trtllm_fixtures import Install, install, model_directory

from tritone.errors import Cancelled, EnvironmentProblem, Overloaded, StageFailed
from tritone.llm.checkpoint import BANNED, logit_bias
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import SamplingParams
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.llm_api import LlmApiLanguageModel, open_llm_api
from tritone.llm.trtllm.speech_logits import SpeechLogits, Uniforms, draw, repetition_aware_law

SAMPLED = SamplingParams(top_k=25, top_p=0.8, temperature=0.9, seed=11)

Open = Callable[..., tuple[LlmApiLanguageModel, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return model_directory(tmp_path_factory.mktemp("model"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.delenv("TLLM_WORKER_USE_SINGLE_PROCESS", raising=False)
    yield from install(tmp_path, monkeypatch)


@pytest.fixture
def open_model(built: Built, installed: Install) -> Iterator[Open]:
    """Opens the model; with it comes the stand-in of its LLM."""
    installed("1.2.0")
    models = []

    def open_one(**options: Any) -> tuple[LlmApiLanguageModel, Any]:
        models.append(open_llm_api(*built, **options))
        from tensorrt_llm.llmapi import LLM

        LLM.opened[-1].vocab_size = built[1].llm.vocab_size
        return models[-1], LLM.opened[-1]

    yield open_one
    for model in models:
        model.close()


def greedy_reference(built: Built, llm: Any, given: Any) -> list[int]:
    """What plain argmax over the same logits gives, with the bias and the minimum."""
    config, bias = built[1].llm, torch.from_numpy(logit_bias(*(built[0], built[1].llm)))
    tokens, prompt = [], given.prompt.ids.tolist()
    while len(tokens) < given.max_tokens:
        logits = llm.logits([*prompt, *tokens]) + bias
        if len(tokens) < given.min_tokens:
            logits[config.stop_ids[0]] = BANNED
        token = int(logits.argmax())
        if token in config.stop_ids:
            break
        tokens.append(token)
    return tokens


class TestModel:
    def test_greedy_tokens_are_the_argmax_of_the_biased_logits(
        self, open_model: Open, built: Built
    ) -> None:
        model, llm = open_model()
        llm.step_seconds = 0.01
        given = request(1, tokens=30)
        increments = list(model.submit(given))
        assert len(increments) > 5 and all(part.ids.dtype == np.int32 for part in increments)
        assert tokens_of(increments) == greedy_reference(built, llm, given)
        assert not model._running

    def test_only_speech_is_sampled_and_a_seed_repeats_it(
        self, open_model: Open, built: Built
    ) -> None:
        model, _ = open_model()
        first = tokens_of(model.submit(request(2, tokens=40, sampling=SAMPLED)))
        again = tokens_of(model.submit(request(2, tokens=40, sampling=SAMPLED)))
        other = tokens_of(model.submit(request(2, tokens=40, sampling=replace(SAMPLED, seed=12))))
        assert first == again != other
        offset, codes = built[1].llm.speech_offset, built[1].llm.speech_codes
        assert all(offset <= token < offset + codes for token in (*first, *other))

    def test_a_seed_holds_whoever_runs_beside_it(self, open_model: Open) -> None:
        """The runtime's own sampler has one generator for all."""
        model, llm = open_model()
        alone = tokens_of(model.submit(request(2, tokens=40, sampling=SAMPLED)))
        llm.step_seconds = 0.0005
        others = [replace(SAMPLED, seed=seed) for seed in (1, 2, 3)]
        beside = [model.submit(request(5, tokens=30, sampling=other)) for other in others]
        assert tokens_of(model.submit(request(2, tokens=40, sampling=SAMPLED))) == alone
        assert len({tuple(tokens_of(one)) for one in beside}) == 3

    def test_the_runtime_is_opened_for_ids_alone(self, open_model: Open, built: Built) -> None:
        _, llm = open_model(slots=8, max_tokens=300, kv_memory_fraction=0.2, dtype="fp16")
        assert llm.model == str(built[0] / "llm") and llm.dtype == "float16"
        assert llm.max_seq_len == 300 and llm.options["max_batch_size"] == 8
        assert llm.options["skip_tokenizer_init"] and llm.options["disable_overlap_scheduler"]
        cache = llm.options["kv_cache_config"]
        assert cache.enable_block_reuse and cache.free_gpu_memory_fraction == 0.2

    def test_generations_run_side_by_side(self, open_model: Open) -> None:
        model, llm = open_model()
        llm.step_seconds = 0.001
        given = [request(seed, tokens=20 + seed) for seed in range(6)]
        generations = [model.submit(one) for one in given]
        assert len(model._running) == 6
        assert [len(tokens_of(g)) for g in generations] == [20 + seed for seed in range(6)]

    def test_cancel_aborts_one_generation(self, open_model: Open) -> None:
        model, llm = open_model()
        llm.step_seconds = 0.01
        first = model.submit(request(1, tokens=500))
        second = model.submit(request(2, tokens=20))
        reader = iter(first)
        next(reader)
        first.cancel()
        with pytest.raises(Cancelled):
            next(reader)
        assert len(tokens_of(second)) == 20
        assert [output.aborted for output in llm.outputs] == [True, False]
        assert not model._running

    def test_an_error_ends_its_own_generation_alone(self, open_model: Open) -> None:
        model, llm = open_model()
        llm.breaks_on = int(request(1).prompt.ids[1])
        first, second = model.submit(request(1)), model.submit(request(3))
        assert llm.breaks_on not in request(3).prompt.ids
        with pytest.raises(StageFailed, match=r"^tensorrt_llm: CUDA error: out of luck"):
            tokens_of(first)
        assert len(tokens_of(second)) == 20

    def test_lack_of_room_is_an_error_and_not_an_end(self, open_model: Open) -> None:
        model, _ = open_model(max_tokens=40)
        with pytest.raises(StageFailed, match="no end of speech within 40 positions"):
            tokens_of(model.submit(request(1, tokens=100)))

    def test_requests_beyond_the_limits_are_refused(self, open_model: Open) -> None:
        model, llm = open_model(slots=1, max_waiting=1)
        llm.step_seconds = 0.02
        kept = [model.submit(request(1, tokens=500)) for _ in range(2)]
        with pytest.raises(Overloaded, match="limits: 1 and 1"):
            model.submit(request(1))
        assert len(kept) == 2

    def test_close_ends_open_generations(self, open_model: Open) -> None:
        model, llm = open_model()
        llm.step_seconds = 0.01
        running, begun = (model.submit(request(1, tokens=500)) for _ in range(2))
        next(iter(running))
        model.close()
        for generation in (running, begun):
            with pytest.raises((StageFailed, Cancelled)):
                tokens_of(generation)
        assert llm.shut_down
        with pytest.raises(StageFailed, match="the language model is closed"):
            model.submit(request(1))


@pytest.mark.parametrize(
    "version, options, words",
    [
        ("0.20.0", {}, r"0\.20\.0 is installed .* begins with 1\.0: use the profile gpu,"),
        ("1.2.0", {"dtype": "fp8"}, "dtype is 'fp8'; take one of bf16, fp16"),
    ],
)
def test_what_cannot_be_opened_is_named(
    built: Built, installed: Install, version: str, options: dict[str, str], words: str
) -> None:
    installed(version)
    with pytest.raises(EnvironmentProblem, match=words):
        open_llm_api(*built, **options)


def defined_law(logits: np.ndarray, recent: set[int], *, top_k: int, top_p: float) -> np.ndarray:
    """The law by its definition, one repeated token after the other."""
    softmax = np.exp(logits.astype(np.float64))
    softmax /= softmax.sum()
    likely = np.argsort(-softmax, kind="stable")[:top_k]
    kept = likely[np.cumsum(softmax[likely]) - softmax[likely] < top_p]
    law = np.zeros_like(softmax)
    law[kept] = softmax[kept] / softmax[kept].sum()
    for token, mass in [(token, law[token]) for token in recent]:
        others = softmax.copy()
        others[token] = 0
        law[token] -= mass
        law += mass * others / others.sum()
    return law


class TestLaw:
    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("top_k, top_p", [(25, 0.8), (3, 1.0), (500, 0.95), (25, 1e-3)])
    def test_the_sampler_draws_by_it(self, seed: int, top_k: int, top_p: float) -> None:
        random = np.random.default_rng(seed)
        logits = (random.normal(size=300) * 3).astype(np.float32)
        likely = np.argsort(-logits)[:12]
        recent = [int(t) for t in random.choice(likely, 10)] + [int(likely[0])] * (seed % 2)
        config = SamplingConfig(top_k=top_k, top_p=top_p, temperature=0.7)
        sampler = Sampler(
            config, SamplingParams(seed=seed), waiting=slice(299, 300), emitted=recent
        )
        window = set(recent[-config.repetition_window :])
        law = repetition_aware_law(
            torch.from_numpy(logits) / 0.7,
            torch.tensor(sorted(window)),
            top_k=top_k,
            top_p=top_p,
        )
        expected = defined_law(logits / 0.7, window, top_k=top_k, top_p=top_p)
        np.testing.assert_allclose(law.numpy(), expected, atol=2e-6)
        counts = np.bincount([sampler.draw(logits) for _ in range(3000)], minlength=300)
        assert chi_squared_p_value(counts, law.double().numpy()) > 1e-4
        assert not counts[law.numpy() == 0].any()

    def test_a_token_that_is_certain_stays(self) -> None:
        scores = torch.full((50,), -200.0)
        scores[7] = 0
        law = repetition_aware_law(scores, torch.tensor([7]), top_k=25, top_p=0.8)
        assert law[7] == 1 and law.sum() == 1

    def test_draws_follow_the_weights_and_never_take_one_of_zero(self) -> None:
        law = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
        uniforms = Uniforms(3)
        drawn = [int(draw(law, uniforms[n])) for n in range(3000)]
        assert [uniforms[n] for n in (5, 0)] == [Uniforms(3)[n] for n in (5, 0)]
        counts = np.bincount(drawn, minlength=6)
        assert chi_squared_p_value(counts, law.double().numpy()) > 1e-4
        assert not counts[law.numpy() == 0].any()
        assert int(draw(law, 0.0)) == 1 and int(draw(law, np.nextafter(1, 0))) == 4

    def test_one_token_drawn_by_the_law_is_left_within_a_generation(self, built: Built) -> None:
        llm, sampling = built[1].llm, SamplingConfig()
        bias = torch.from_numpy(logit_bias(built[0], llm))
        sampler = Sampler(sampling, SAMPLED, waiting=llm.waiting_rows)
        options = {"min_tokens": 3, "prompt": 4}
        raw = torch.randn(llm.vocab_size, generator=torch.Generator().manual_seed(5)) * 4
        speech = np.s_[llm.speech_offset : llm.speech_offset + llm.speech_head_size]
        row = int((raw + bias)[speech].argmax())
        tokens = [1, 2, 3, 4, llm.speech_offset + row]
        scores = (raw + bias)[speech] / SAMPLED.temperature
        scores[llm.speech_codes] = -torch.inf  # the end comes before min_tokens
        law = repetition_aware_law(
            scores, torch.tensor([row]), top_k=SAMPLED.top_k, top_p=SAMPLED.top_p
        )
        for seed in range(50):
            processor = SpeechLogits(
                bias.to, llm, sampling, sampler, uniforms=Uniforms(seed), **options
            )
            logits = raw.clone().view(1, 1, -1)
            processor(1, logits, [tokens], None, None)
            token = llm.speech_offset + int(draw(law, Uniforms(seed)[1]))
            assert int(logits.argmax()) == token
            assert np.delete(logits.view(-1).numpy(), token).max() == np.float32(BANNED)
            again = raw.clone().view(1, 1, -1)
            processor(1, again, [tokens], None, None)
            assert torch.equal(again, logits), "a token that is computed again is the same one"
