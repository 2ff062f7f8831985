"""The merged checkpoint, against upstream's layout and logits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cosyvoice3_llm
import numpy as np
import pytest
import torch
from cosyvoice3_llm import BASE, GOLDEN, META, TEXT_IDS, TINY, merge_tiny
from parity.cosyvoice3_llm import cases
from parity.folders import comparisons
from safetensors.torch import load_file, save_file
from trtllm_reader import convert, logits

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice3.merge_llm import PUBLISHED, copy_merged, merge_llm, read_merged
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots

LOGITS = load_file(GOLDEN / "llm_logits.safetensors")
SPEECH = slice(TEXT_IDS, TEXT_IDS + 6761)
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("merged")
    merge_tiny(directory)
    return directory


@pytest.fixture(scope="module")
def weights(merged: Path) -> Tensors:
    return load_file(merged / "model.safetensors")


def published(folder: Path, weights: Tensors, **numbers: Any) -> Path:
    """The checkpoint in the form that upstream's script writes."""
    numbers = {**META["converter_metadata"], **numbers}
    cosyvoice3_llm.published(folder, weights, META["merged_config"], numbers)
    tensors = load_file(folder / "model.safetensors")
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == META["merged_keys"]
    return folder


def test_every_golden_case_passes() -> None:
    """Ids, logits of ONNX Runtime, seeded generations, pauses."""
    assert cases in comparisons(GOLDEN), "known by its files"
    results = list(cases(GOLDEN))
    assert [result for result in results if not result.passed] == []
    assert len({result.case for result in results}) == len(results) == 22


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_torch_gives_upstreams_logits(merged: Path, case: str) -> None:
    checkpoint, config = Checkpoint(merged / "model.safetensors"), read_merged(merged)
    decoder = TorchQwen2(checkpoint, config, torch.device("cpu"), torch.float32)
    session = TorchSlots(decoder, slots=1, slot_length=80)
    ids = LOGITS[f"{case}.merged_input_ids"][0].numpy()
    embeds, prompt = EmbeddingTable(checkpoint)(ids), len(ids) - len(LOGITS[f"{case}.forced"])
    rows = [session.prefill(0, embeds[:prompt])]
    for at in range(prompt, len(ids)):
        rows.append(session.decode(embeds[at : at + 1], np.array([at], np.int32))[0].copy())
    found, likely = torch.from_numpy(np.stack(rows)), LOGITS[f"{case}.top25_idx"].long()
    assert_near(found[:2], LOGITS[f"{case}.logits_first2"])
    assert_near(found[-1:], LOGITS[f"{case}.logits_last"])
    assert_near(found.gather(1, likely), LOGITS[f"{case}.top25_val"])


def test_a_tensorrt_llm_checkpoint_gives_them_too(merged: Path, tmp_path: Path) -> None:
    output = convert(merged, tmp_path / "out", dtype="float32")
    bias = load_file(merged / "model.safetensors")["lm_head.bias"]
    for case in ("c0", "c1", "c2"):
        ids = LOGITS[f"{case}.merged_input_ids"][0].numpy()
        every = logits(output, ids)[-len(LOGITS[f"{case}.forced"]) - 1 :] + bias
        assert_near(every[:2, SPEECH], LOGITS[f"{case}.logits_first2"])
        assert_near(every[-1:, SPEECH], LOGITS[f"{case}.logits_last"])
        assert every.softmax(1)[:, SPEECH].sum(1).allclose(torch.ones(1)), "text can be drawn"


def assert_near(found: torch.Tensor, golden: torch.Tensor) -> None:
    torch.testing.assert_close(found, golden, atol=1e-4, rtol=0)


def test_the_layout_is_that_of_the_released_tables(merged: Path, weights: Tensors) -> None:
    config, released = read_merged(merged), torch.load(TINY / "llm.pt", weights_only=True)
    assert sorted(config.stop_ids) == list(range(TEXT_IDS + 6561, TEXT_IDS + 6761))
    assert config.stop_ids[0] == META["merged_ids"]["<|eos1|>"], "the regular end comes first"
    assert {config.sos_id, config.task_id} < set(config.stop_ids)
    assert config.prompt_ids == SPEECH.stop
    embedding, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    text = released["llm.model.model.embed_tokens.weight"][:TEXT_IDS]
    assert torch.equal(embedding[:TEXT_IDS], text)
    assert torch.equal(embedding[SPEECH], released["speech_embedding.weight"])
    assert torch.equal(head[SPEECH], released["llm_decoder.weight"])
    assert not any(table[SPEECH.stop :].any() for table in (embedding, head))
    assert not head[:TEXT_IDS].any()
    assert not weights["lm_head.bias"][SPEECH].any()
    assert weights["lm_head.bias"].isneginf().sum() == META["merged_config"]["vocab_size"] - 6761


def test_numbers_come_back_from_config_json(merged: Path) -> None:
    """What other checkpoints do not have is written behind the ids, before the sizes."""
    config = read_merged(merged)
    numbers = config.model_dump(mode="json")
    assert list(numbers)[3:7] == ["stop_ids", "all_stops_wait", "sos_id", "task_id"]
    assert SpeechIds.model_validate_json(json.dumps(numbers)) == config


def test_the_published_form_becomes_ours(tmp_path: Path, merged: Path, weights: Tensors) -> None:
    source = published(tmp_path / "hf", weights)
    assert copy_merged(source, tmp_path / "copy") == read_merged(merged)
    copy = load_file(tmp_path / "copy" / "model.safetensors")
    assert copy.keys() == weights.keys()
    assert all(torch.equal(copy[name], tensor) for name, tensor in weights.items())
    assert copy_merged(merged, tmp_path / "again") == read_merged(tmp_path / "again")


def test_the_mask_survives_bfloat16(tmp_path: Path, merged: Path, weights: Tensors) -> None:
    copy_merged(published(tmp_path / "hf", weights), tmp_path / "copy", dtype="bf16")
    bias = load_file(tmp_path / "copy" / "model.safetensors")["lm_head.bias"]
    assert bias.dtype == torch.bfloat16 and torch.equal(bias.float(), weights["lm_head.bias"])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"speech_token_offset": None}, "speech_token_offset is None, expected a whole number"),
        ({"eos_token_id": 158485}, "speech ends with 158485; expected 200 stop ids, the second"),
        ({"embedding_size": 6564}, "6564 speech rows from id 151924 on"),
        (
            {"speech_token_offset": 151663, "eos_token_id": 158225},
            "vocab_size is 158720, its speech rows ask for 158464",
        ),
    ],
)
def test_published_numbers_that_do_not_agree_are_named(
    tmp_path: Path, weights: Tensors, numbers: dict[str, Any], message: str
) -> None:
    source = published(tmp_path / "hf", weights, **numbers)
    with pytest.raises(ModelDirectoryError, match=message):
        read_merged(source)


def test_a_published_form_without_its_numbers_is_named(tmp_path: Path, weights: Tensors) -> None:
    source = published(tmp_path / "hf", weights)
    (source / PUBLISHED).unlink()
    with pytest.raises(ModelDirectoryError, match=f"{PUBLISHED} is missing; download that file"):
        read_merged(source)


def test_another_type_of_number_is_named(tmp_path: Path, weights: Tensors) -> None:
    source = published(tmp_path / "hf", weights)
    tensors = load_file(source / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].double()
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ModelDirectoryError, match="weight is F64, expected one of F32"):
        copy_merged(source, tmp_path / "copy")


def cut(state: Tensors) -> None:
    for name in ("llm_decoder.weight", "speech_embedding.weight"):
        state[name] = state[name][:200].clone()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("speech_embedding.weight"), r"speech_embedding\.weight is missing"),
        (lambda s: s.update({"llm_embedding.weight": torch.zeros(2, 32)}), "is unexpected"),
        (lambda s: s.update({"llm_decoder.bias": torch.zeros(6761)}), "is unexpected"),
        (cut, "has 200 rows, expected speech codes and 200 stop ids"),
    ],
    ids=["missing", "control rows", "bias", "no codes"],
)
def test_another_state_dict_is_refused(
    tmp_path: Path, change: Callable[[Tensors], object], message: str
) -> None:
    state = torch.load(TINY / "llm.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "llm.pt")
    with pytest.raises(ModelDirectoryError, match=message):
        merge_llm(tmp_path / "llm.pt", BASE, tmp_path / "llm", text_ids=TEXT_IDS)
