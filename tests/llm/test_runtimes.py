"""The table of runtimes, and what a deployment may set of each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from llm_model import GREEDY, build_tiny, request, tokens_of
from trtllm_fixtures import Install, install, write_engine

from tritone.errors import EnvironmentProblem
from tritone.llm.contract import Prompt
from tritone.llm.runtimes import RUNTIMES, Runtime, needs_bias, runtime_named, warm_up
from tritone.llm.trtllm.engine_folder import find_engine
from tritone.serving.generation_tensors import generation_tensors, stop_tensors
from tritone.serving.parameters import given_parameters, parameters


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield from install(tmp_path, monkeypatch)


def args(**given: str) -> dict[str, str]:
    """What Triton hands to a model whose configuration has these parameters."""
    entries = {name: {"string_value": value} for name, value in given.items()}
    return {"model_config": json.dumps({"parameters": entries})}


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_says_what_can_be_set(name: str) -> None:
    known = RUNTIMES[name].parameters()
    assert {"slots", "max_waiting"} <= set(known), "the adapter needs them"
    assert all(type(default) in (int, float, str) for default in known.values())


def test_only_what_is_not_ours_needs_the_bias_with_every_request() -> None:
    assert needs_bias("gpu-backend")
    assert not any(needs_bias(runtime.profile) for runtime in RUNTIMES.values())


def test_an_unknown_runtime_is_refused_with_the_known() -> None:
    with pytest.raises(EnvironmentProblem, match="'vllm'; take one of onnx, torch, executor"):
        runtime_named("vllm")
    with pytest.raises(EnvironmentProblem, match="runtime is None"):
        runtime_named(given_parameters(args()).get("runtime"))


def test_a_parameter_of_another_runtime_is_refused() -> None:
    given = args(runtime="executor", slots="8", precision="int8")
    known = runtime_named(given_parameters(given)["runtime"]).parameters()
    known_names = "known: runtime, device, engine_dir"
    with pytest.raises(ValueError, match=f"unknown parameter precision; {known_names}"):
        parameters(given, runtime="", **known)


def test_parameters_get_the_type_of_their_default() -> None:
    given = args(runtime="executor", slots="8", kv_memory_fraction="0.5", engine_dir="")
    values = parameters(given, runtime="", **RUNTIMES["executor"].parameters())
    assert (values["slots"], values["kv_memory_fraction"]) == (8, 0.5)
    assert values["engine_dir"] == "" and values["repetition_penalty"] == 1.1


def test_a_missing_package_is_named_with_the_profile_to_use() -> None:
    runtime = Runtime("no_such_package.engine", "open", profile="gpu", instead="gpu-torch")
    with pytest.raises(
        EnvironmentProblem,
        match=r"profile gpu needs the package no_such_package.*use the profile gpu-torch",
    ):
        runtime.opener()


def test_onnx_opens_and_speaks(tmp_path: Path) -> None:
    config = build_tiny(tmp_path, "int8")
    model = RUNTIMES["onnx"].open(tmp_path, config, slots=2, max_tokens=256)
    try:
        warm_up(model, Prompt(np.array([config.llm.sos_id, config.llm.task_id], np.int32)))
        assert len(tokens_of(model.submit(request(1)))) == 20
    finally:
        model.close()


def test_executor_and_llm_api_open_by_name(tmp_path: Path, installed: Install) -> None:
    config = build_tiny(tmp_path)
    write_engine(tmp_path, config.llm.vocab_size)
    installed("0.20.0")
    asked: list[Path] = []
    model = RUNTIMES["executor"].open(
        tmp_path, config, check_engine=lambda _, __, engine: asked.append(engine), slots=2
    )
    model.close()
    assert asked == [find_engine(tmp_path)]
    with pytest.raises(EnvironmentProblem, match=r"begins with 1\.0"):
        RUNTIMES["llm_api"].open(tmp_path, config)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    config = build_tiny(tmp_path_factory.mktemp("model"))
    bias = np.arange(config.llm.vocab_size, dtype=np.float32)
    return generation_tensors(request(1, tokens=7, minimum=3), config, bias)


class TestWire:
    """What the orchestrator sends to every runtime."""

    def test_both_spellings_say_the_same(self, sent: dict[str, Any]) -> None:
        for name, later, dtype in (
            ("random_seed", "seed", np.uint64),
            ("min_length", "min_tokens", np.int32),
        ):
            assert sent[name].dtype == sent[later].dtype == dtype
            np.testing.assert_array_equal(sent[name], sent[later])
        assert sent["min_length"] == 3

    def test_stop_words_are_the_stop_ids_one_by_one(self, sent: dict[str, Any]) -> None:
        ids, ends = sent["stop_words_list"][0]
        assert len(ids) == 3 and sent["end_id"] == ids[0]
        assert ends.tolist() == [1, 2, 3]

    def test_the_bias_goes_along_and_greedy_is_not_penalised(self, sent: dict[str, Any]) -> None:
        assert sent["embedding_bias"].shape == (1, 6912)
        assert sent["repetition_penalty"] == 1.0 and sent["runtime_top_k"] == GREEDY.top_k

    def test_every_tensor_has_a_batch_dimension_of_one(self, sent: dict[str, Any]) -> None:
        assert all(array.shape[0] == 1 for array in (*sent.values(), *stop_tensors().values()))


class TestInTheUsualOnesPlace:
    """The shipped configuration has the settings of the usual runtime, with its defaults."""

    GIVEN: ClassVar = {"slots": 4, "precision": "int8", "max_tokens": 4096, "threads": 1}

    def test_what_nobody_set_is_left_out(self) -> None:
        taken = RUNTIMES["torch"].in_place_of(RUNTIMES["onnx"], self.GIVEN)
        assert taken == {"slots": 4, "max_tokens": 4096}

    @pytest.mark.parametrize(
        ("changed", "chosen", "problem"),
        [
            ({"precision": "int4"}, (), "setting precision .* is 'int4': .* has .*slots"),
            ({"threads": 2}, (), "setting threads .* is 2: .* has .*slots"),
            ({}, ("precision",), "setting precision .* is 'int8'"),
        ],
    )
    def test_what_somebody_set_is_refused(
        self, changed: dict[str, Any], chosen: tuple[str, ...], problem: str
    ) -> None:
        with pytest.raises(EnvironmentProblem, match=problem):
            RUNTIMES["torch"].in_place_of(RUNTIMES["onnx"], {**self.GIVEN, **changed}, chosen)
