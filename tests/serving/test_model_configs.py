"""The configurations of `tensorrt_llm`, read as Triton reads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.json_format import MessageToJson
from llm_model import build_tiny, request
from paths import PROJECT
from tritonclient.grpc import model_config_pb2

from tritone.launcher.command import DEFAULT_PROFILE
from tritone.launcher.settings import Profile
from tritone.llm.contract import MoreText, OpenText, Prompt, Rereads, Turns
from tritone.llm.runtimes import RUNTIMES
from tritone.serving.generation_tensors import (
    FAILURE,
    LATENTS,
    OUTPUTS,
    SAID,
    extension_tensors,
    generation_tensors,
    stop_tensors,
)
from tritone.serving.parameters import parameters

MODEL = PROJECT / "model_repo" / "tensorrt_llm"
PROFILES = get_args(Profile)
CONFIGS = sorted((PROJECT / "model_repo").rglob("*.pbtxt"))
OURS = [profile for profile in PROFILES if profile != "gpu-backend"]
OURS_ALONE = {"prompt_embeddings", "turns", "rereads", "open_text", "text_ended", "extend"}
GIVEN_BY_OURS = {SAID, LATENTS, FAILURE}
TYPES = {
    np.dtype(np.int32): model_config_pb2.TYPE_INT32,
    np.dtype(np.float32): model_config_pb2.TYPE_FP32,
    np.dtype(np.uint64): model_config_pb2.TYPE_UINT64,
    np.dtype(np.bool_): model_config_pb2.TYPE_BOOL,
}


def read(profile: str) -> Any:
    path = MODEL / "configs" / f"{profile}.pbtxt"
    if profile == DEFAULT_PROFILE:
        path = MODEL / "config.pbtxt"
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def values(config: Any) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_model_is_one_instance_however_many_gpus_there_are(path: Path) -> None:
    """Without a kind Triton makes an instance for each GPU that it sees. Where a model computes is
    its own setting, so Triton has to place nothing."""
    config: Any = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    (group,) = config.instance_group
    assert group.count == 1 and not group.gpus
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_every_file_belongs_to_a_profile() -> None:
    files = {path.stem for path in (MODEL / "configs").iterdir()}
    assert files == set(PROFILES) - {DEFAULT_PROFILE}


@pytest.mark.parametrize("profile", PROFILES)
def test_all_declare_the_same_tensors(profile: str) -> None:
    """But for NVIDIA's backend, which takes no prompts of embeddings under this name, cannot add to
    a prompt, does not say what its tokens are said for, gives no latents and errors of its own."""
    config, default = read(profile), read(DEFAULT_PROFILE)
    taken = [i for i in default.input if profile in OURS or i.name not in OURS_ALONE]
    assert list(config.input) == taken
    given = [o for o in default.output if profile in OURS or o.name not in GIVEN_BY_OURS]
    assert list(config.output) == given
    assert config.model_transaction_policy.decoupled and config.name == "tensorrt_llm"
    assert config.max_batch_size > 0


def test_all_that_is_sent_is_declared(tmp_path: Path) -> None:
    model = build_tiny(tmp_path)
    bias = np.zeros(model.llm.vocab_size, np.float32)
    declared = {spec.name: spec for spec in read(DEFAULT_PROFILE).input}
    rows = replace(request(1), prompt=Prompt(embeddings=np.ones((4, 8), np.float32)))
    ids = np.ones(3, np.int32)
    text = OpenText(Turns(5, 15, 6847, 6849), ids, ids, ended=False)
    anew = replace(text, way=Rereads(2, 8, 6849))
    more = MoreText(ids, ended=True, min_tokens=0, max_tokens=9)
    sent = {
        **generation_tensors(rows, model, bias),
        **generation_tensors(replace(request(1), open_text=text), model, bias),
        **generation_tensors(replace(request(1), open_text=anew), model, bias),
        **extension_tensors(more),
        **stop_tensors(),
    }
    assert set(sent) == set(declared), "only what is sent is declared"
    for name, array in sent.items():
        spec = declared[name]
        assert spec.data_type == TYPES[array.dtype], name
        shape = array.shape[1:]
        assert len(shape) == len(spec.dims), name
        assert all(d in (-1, n) for d, n in zip(spec.dims, shape, strict=True)), name
        assert spec.optional == (name not in ("input_ids", "input_lengths", "request_output_len"))
    assert {spec.name for spec in read(DEFAULT_PROFILE).output} == {*OUTPUTS, *GIVEN_BY_OURS}


@pytest.mark.parametrize("profile", OURS)
def test_parameters_are_those_of_the_runtime(profile: str) -> None:
    config = read(profile)
    runtime = RUNTIMES[values(config)["runtime"]]
    assert config.backend == "python" and runtime.profile == profile
    text = {"model_config": json_of(config)}
    typed = parameters(text, runtime="", **runtime.parameters())
    assert typed["slots"] + typed["max_waiting"] > 16, "as many as the orchestrator has streams"


def json_of(config: Any) -> str:
    """As Triton hands it to a Python model."""
    return str(
        MessageToJson(
            config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    )


class TestCppBackend:
    @pytest.fixture
    def config(self) -> Any:
        return read("gpu-backend")

    def test_keys_that_the_backend_reads_unguarded_are_there(self, config: Any) -> None:
        given = values(config)
        assert config.backend == "tensorrtllm"
        assert given["gpt_model_type"] == "inflight_fused_batching"
        for key in ("tokenizer_dir", "guided_decoding_backend", "xgrammar_tokenizer_info_path"):
            assert given[key] == ""

    def test_the_pool_is_not_capped_and_blocks_are_reused(self, config: Any) -> None:
        given = values(config)
        assert "max_tokens_in_paged_kv_cache" not in given
        assert given["enable_kv_cache_reuse"] == given["exclude_input_in_output"] == "true"
        assert 0 < float(given["kv_cache_free_gpu_mem_fraction"]) < 0.5

    def test_it_says_what_older_and_newer_backends_call_them(self, config: Any) -> None:
        names = {spec.name for spec in config.input}
        assert {"seed", "random_seed", "min_length", "min_tokens", "embedding_bias"} <= names
