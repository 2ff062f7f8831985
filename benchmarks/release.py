"""The files of a release with random weights, under upstream's names."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.base_tokenizer import write_tokenizer_parts
from benchmarks.family_parts import PARTS
from benchmarks.full_size import AnyConfig
from benchmarks.random_model import STD
from tritone.acoustic.rotary import rotary_frequencies
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.merge_llm import BODY, SPEECH_EMBEDDING, SPEECH_HEAD
from tritone.families.cosyvoice2.merged_checkpoint import Shapes, body_shapes, padded
from tritone.families.cosyvoice2.released_files import BASE_LLM, FLOW, HIFT, LLM
from tritone.families.cosyvoice3.released_flow import FREQUENCIES
from tritone.llm.checkpoint import EMBEDDING, HEAD, write_qwen2

TABLES = Path(__file__).parents[1] / "tests" / "golden" / "release"
_TABLE = BODY + EMBEDDING  # which the text head shares, as in the released file


def write_release(folder: Path, size: AnyConfig, tables: Path = TABLES) -> None:
    """Write what a conversion needs; the YAML file comes last, so a folder that has it is complete.

    tables: a folder with lists of the names and shapes in flow.pt and hift.pt. The ONNX models of
    the front end and the voices are left out. The weights of one file at a time are in memory, at
    most 2.1 GB for the full sizes.
    """
    parts, base = PARTS[size.family], folder / BASE_LLM
    base.mkdir(parents=True, exist_ok=True)
    write_tokenizer_parts(base, size.llm.speech_offset, parts.added)
    text = size.llm.model_copy(update={"vocab_size": padded(size.llm.speech_offset)})
    write_qwen2(base, text, "bfloat16")
    generator = torch.Generator().manual_seed(0)
    llm = _drawn(LLM, llm_shapes(size), generator)
    torch.save({**llm, BODY + HEAD: llm[_TABLE]}, folder / LLM)
    del llm
    for name, table in ((FLOW, parts.flow_table), (HIFT, parts.vocoder_table)):
        torch.save(_drawn(name, dict(_listed(tables / table)), generator), folder / name)
    (folder / parts.yaml).write_text(json.dumps(_numbers(size), indent=1), encoding="utf-8")


def llm_shapes(size: AnyConfig) -> Shapes:
    """Every tensor of `llm.pt` but the text head."""
    llm, biased = size.llm, isinstance(size, CosyVoice2Config)
    rows, width = llm.speech_head_size, llm.hidden_size
    body = {BODY + name: shape for name, shape in body_shapes(llm).items()}
    more = {"llm_embedding.weight": (2, width), "llm_decoder.bias": (rows,)} if biased else {}
    speech = {SPEECH_EMBEDDING: (rows, width), SPEECH_HEAD: (rows, width)}
    return {**body, _TABLE: (padded(llm.speech_offset), width), **speech, **more}


def _listed(table: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield row["key"], tuple(json.loads(row["shape"]))


def _drawn(name: str, shapes: Shapes, generator: torch.Generator) -> dict[str, Tensor]:
    drawn = {k: torch.randn(s, generator=generator) * STD for k, s in tqdm(shapes.items(), name)}
    if FREQUENCIES in drawn:  # which the conversion checks
        drawn[FREQUENCIES] = rotary_frequencies(2 * len(drawn[FREQUENCIES]))
    return drawn


def _numbers(size: AnyConfig) -> Mapping[str, Any]:
    """As the YAML file has them; JSON is YAML too."""
    flow, hift = size.flow.model_dump(mode="json"), size.vocoder.model_dump(mode="json")
    estimator, solver = flow.pop("estimator"), flow.pop("solver")
    if isinstance(size, CosyVoice2Config):
        estimator["channels"] = [estimator["channels"]]
    else:
        flow["input_size"] = flow["output_size"]
        flow["pre_lookahead_layer"] = {"channels": flow.pop("lookahead_channels")}
    rate = {"inference_cfg_rate": solver["inference_cfg_rate"]}
    content = {"solver": "euler", "t_scheduler": "cosine", **rate}
    flow["decoder"] = {"estimator": estimator, "cfm_params": {"content": content}}
    hift["istft_params"] = {"n_fft": hift.pop("istft_n_fft"), "hop_len": hift.pop("istft_hop")}
    hift["f0_predictor"] = {"cond_channels": hift.pop("f0_channels")}
    return {"chunk_size": flow.pop("chunk_size"), "flow": flow, "hift": hift}
