"""The language model on TensorRT-LLM's Executor, with a stand-in for TensorRT-LLM."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from llm_model import Built, request, tokens_of
from trtllm_fixtures import Install, install, model_directory, write_engine
from waiting import HANG_S, wait_until

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import (
    Cancelled,
    EnvironmentProblem,
    InvalidRequest,
    Overloaded,
    StageFailed,
)
from tritone.llm.checkpoint import BANNED, HEAD_BIAS, LLM_DIR, WEIGHTS_NAME, logit_bias
from tritone.llm.contract import GenerationRequest, Prompt, SamplingParams
from tritone.llm.trtllm.engine_folder import find_engine
from tritone.llm.trtllm.executor import ExecutorLanguageModel, open_executor

SAMPLED = SamplingParams(top_k=25, top_p=0.8, temperature=0.9, seed=11)

Open = Callable[..., tuple[ExecutorLanguageModel, Any]]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return model_directory(tmp_path_factory.mktemp("merged"))


@pytest.fixture
def built(merged: Built, tmp_path: Path) -> Built:
    """The merged model with an engine of its own for each test."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / LLM_DIR).symlink_to(merged[0] / LLM_DIR)
    write_engine(tmp_path / "model", merged[1].llm.vocab_size)
    return tmp_path / "model", merged[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield from install(tmp_path, monkeypatch)


@pytest.fixture
def open_model(built: Built, installed: Install) -> Iterator[Open]:
    """Opens the model; with it comes the stand-in of its Executor."""
    installed("0.20.0")
    models = []

    def open_one(**options: Any) -> tuple[ExecutorLanguageModel, Any]:
        models.append(open_executor(*built, **{"slots": 4, **options}))
        from tensorrt_llm.bindings.executor import Executor

        return models[-1], Executor.opened[-1]

    yield open_one
    for model in models:
        model.close()


def test_increments_come_as_they_are_given_and_stop_ids_do_not(open_model: Open) -> None:
    model, executor = open_model()
    offset, stop = model._config.llm.speech_offset, model._config.llm.stop_ids
    generation = model.submit(request(1))
    reader = iter(generation)
    executor.give(1, [offset + 5])
    assert next(reader).ids.tolist() == [offset + 5]
    executor.give(1, [])
    executor.give(1, [offset + 6, offset + 7])
    assert next(reader).ids.tolist() == [offset + 6, offset + 7]
    assert len(model._running) == 1
    executor.give(1, [offset + 8, stop[0]], final=True)
    assert [part.ids.tolist() for part in reader] == [[offset + 8]]
    assert not model._running
    assert executor.cancelled == []


def test_the_request_says_what_the_checkpoint_needs(open_model: Open, built: Built) -> None:
    model, executor = open_model(repetition_penalty=1.2)
    llm = built[1].llm
    model.submit(request(1, tokens=9, minimum=3, sampling=SAMPLED))
    sent = executor.requests[1]
    assert sent.input_token_ids == request(1).prompt.ids.tolist()
    assert (sent.max_tokens, sent.streaming, sent.end_id) == (9, True, llm.stop_ids[0])
    assert sent.stop_words == [[stop_id] for stop_id in llm.stop_ids]
    assert sent.output_config.exclude_input_from_output
    sampling = sent.sampling_config
    assert (sampling.top_k, sampling.top_p, sampling.temperature) == (25, 0.8, 0.9)
    assert (sampling.seed, sampling.min_tokens, sampling.repetition_penalty) == (11, 3, 1.2)
    np.testing.assert_array_equal(sent.embedding_bias.numpy(), logit_bias(built[0], llm))


def test_the_bias_is_the_heads_own_and_bans_all_else(built: Built) -> None:
    llm = built[1].llm
    stored = Checkpoint(built[0] / LLM_DIR / WEIGHTS_NAME).float32(HEAD_BIAS)
    bias = logit_bias(built[0], llm)
    speech = np.s_[llm.speech_offset : llm.speech_offset + llm.speech_head_size]
    np.testing.assert_array_equal(bias[speech], stored[speech])
    assert set(np.delete(bias, speech)) == {np.float32(BANNED)}
    assert np.isfinite(bias.astype(np.float16)).all()


def test_greedy_decoding_is_not_penalised(open_model: Open) -> None:
    model, executor = open_model()
    model.submit(request(1, sampling=SamplingParams(top_k=1)))
    assert executor.requests[1].sampling_config.repetition_penalty == 1.0


def test_without_a_seed_every_request_has_another(open_model: Open) -> None:
    model, executor = open_model()
    for _ in range(2):
        model.submit(request(1, sampling=SamplingParams(top_k=25)))
    seeds = [executor.requests[n].sampling_config.seed for n in (1, 2)]
    assert seeds[0] != seeds[1]


def test_the_engine_reuses_blocks_and_its_pool_is_not_capped(
    open_model: Open, built: Built
) -> None:
    _, executor = open_model(kv_memory_fraction=0.25)
    cache = executor.config.kv_cache_config
    assert cache.enable_block_reuse and cache.max_tokens is None
    assert cache.free_gpu_memory_fraction == 0.25
    assert executor.config.max_batch_size == 4
    assert Path(executor.model_path) == find_engine(built[0])


def test_it_runs_under_cuda_graphs_on_the_gpu_of_its_setting(open_model: Open) -> None:
    config = open_model(device="cuda:1")[1].config
    knobs = config.extended_runtime_perf_knob_config
    assert knobs.cuda_graph_mode and knobs.cuda_graph_cache_size == 16, "four for each batch size"
    assert config.parallel_config.device_ids == [1]
    assert open_model()[1].config.parallel_config.device_ids == [0]


@pytest.mark.parametrize("device", ["cpu", "cuda:", "cuda:first"])
def test_another_device_is_refused(open_model: Open, device: str) -> None:
    with pytest.raises(EnvironmentProblem, match=f"device '{device}' is unknown; take cuda or c"):
        open_model(device=device)


def test_cancel_stops_one_generation_in_the_executor(open_model: Open) -> None:
    model, executor = open_model()
    first, second = model.submit(request(1)), model.submit(request(2))
    offset = model._config.llm.speech_offset
    executor.give(1, [offset + 1])
    reader = iter(first)
    next(reader)
    first.cancel()
    with pytest.raises(Cancelled):
        next(reader)
    assert executor.cancelled == [1]
    executor.give(1, [], final=True)  # the Executor's answer to the cancel
    executor.give(2, [offset + 2], final=True)
    assert tokens_of(second) == [offset + 2]
    wait_until(lambda: not model._running)
    second.cancel()
    assert executor.cancelled == [1], "a generation that ended is not cancelled"


def test_dropping_a_generation_cancels_it_once(open_model: Open) -> None:
    model, executor = open_model()
    generation = model.submit(request(1))
    generation.cancel()
    del generation
    assert executor.cancelled == [1]


def test_cancel_wakes_a_reader_that_waits(open_model: Open) -> None:
    model, _ = open_model()
    generation = model.submit(request(1))
    waits = threading.Event()

    class Outbox(SimpleQueue):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            waits.set()
            return super().get(block, timeout)

    def cancel() -> None:
        assert waits.wait(HANG_S)
        generation.cancel()

    generation._feed.outbox = Outbox()
    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled):
        tokens_of(generation)


def test_an_error_ends_its_own_generation_alone(open_model: Open) -> None:
    model, executor = open_model()
    first, second = model.submit(request(1)), model.submit(request(2))
    executor.fail(1, "Assertion failed: no free blocks\n1  0x7f libtensorrt_llm.so(+0x1)")
    with pytest.raises(StageFailed, match=r"^tensorrt_llm: Assertion failed: no free blocks$"):
        tokens_of(first)
    executor.give(1, [], final=True)  # what may still come for it is nobody's
    executor.give(2, [model._config.llm.speech_offset], final=True)
    assert len(tokens_of(second)) == 1


def test_a_refused_request_harms_nobody(open_model: Open) -> None:
    model, executor = open_model()
    other = model.submit(request(1))
    executor.refuses = "Prompt length exceeds maximum input length\nstack"
    with pytest.raises(StageFailed, match=r"exceeds maximum input length$"):
        model.submit(request(2))
    executor.give(1, [model._config.llm.speech_offset], final=True)
    assert len(tokens_of(other)) == 1


def test_requests_beyond_the_limits_are_refused(open_model: Open) -> None:
    model, _ = open_model(slots=1, max_waiting=1)
    kept = [model.submit(request(1)) for _ in range(2)]
    with pytest.raises(Overloaded, match=r"2 generations run or wait .*limits: 1 and 1"):
        model.submit(request(1))
    assert len(kept) == 2


@pytest.mark.parametrize(
    "ids, words",
    [
        (np.zeros(0, np.int32), "expected"),
        (np.array([9999], np.int32), r"9999 is outside 0\.\.6849"),
        (np.zeros(101, np.int32), "101 ids leave no room to speak in 101 positions"),
    ],
)
def test_ids_that_cannot_be_served_are_named(open_model: Open, ids: Any, words: str) -> None:
    model, executor = open_model()
    with pytest.raises(InvalidRequest, match=words):
        model.submit(GenerationRequest(Prompt(ids=ids), 1, 10))
    assert not executor.requests


def test_a_prompt_of_embeddings_is_refused(open_model: Open) -> None:
    model, executor = open_model()
    prompt = Prompt(embeddings=np.zeros((3, model._config.llm.hidden_size), np.float32))
    with pytest.raises(InvalidRequest, match="prompt_embeddings: this runtime takes prompts of id"):
        model.submit(GenerationRequest(prompt, 1, 10))
    assert not executor.requests


def test_lack_of_room_is_an_error_and_not_an_end(open_model: Open) -> None:
    model, executor = open_model()
    prompt = len(request(1).prompt.ids)
    generation = model.submit(request(1, tokens=1000, minimum=1))
    longest = executor.requests[1].max_tokens
    assert longest == 120 - prompt
    executor.give(1, [model._config.llm.speech_offset] * longest, final=True)
    with pytest.raises(StageFailed, match="no end of speech within 120 positions"):
        tokens_of(generation)


def test_a_broken_executor_ends_everything_and_says_why(open_model: Open) -> None:
    model, executor = open_model()
    generations = [model.submit(request(1)) for _ in range(2)]
    executor.break_down(RuntimeError("CUDA error: an illegal memory access\nstack"))
    for generation in generations:
        with pytest.raises(StageFailed, match=r"restart the server: CUDA error: an illegal memory"):
            tokens_of(generation)
    with pytest.raises(StageFailed, match="closed"):
        model.submit(request(1))


def test_close_ends_open_generations(open_model: Open) -> None:
    model, executor = open_model()
    generation = model.submit(request(1))
    model.close()
    with pytest.raises(StageFailed, match="the language model was closed"):
        tokens_of(generation)
    generation.cancel()
    assert executor.shut_down and executor.cancelled == []
    with pytest.raises(StageFailed, match="the language model is closed"):
        model.submit(request(1))
