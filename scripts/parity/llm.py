"""The language model against golden data: merge, logits of every step, sampling.

A golden folder holds `llm_tiny/` (a released checkpoint and its merged form),
`llm_logits.safetensors` (teacher-forced logits), `ras.json` with `ras_logits.safetensors` (seeded
draws) and `llm_meta.json`.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from parity import ParityResult, close, equal
from parity.interleaving import Draws, interleaved_case
from parity.one_stream import Model, torch_multinomial
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.config import SPEECH_TURN, TEXT_TURN, SpeechIds
from tritone.families.cosyvoice2.merge_llm import merge_llm, read_merged
from tritone.llm.checkpoint import EMBEDDING, HEAD_BIAS, WEIGHTS_NAME
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import SamplingParams, Turns
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.speech_logits import repetition_aware_law

LOGIT_THRESHOLD = 1e-4
LAW_THRESHOLD = 1e-6
P_VALUE = 1e-4
DRAWS = 20000

Golden = dict[str, NDArray[Any]]


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare everything in a golden folder, one result a case."""
    meta = json.loads((folder / "llm_meta.json").read_text(encoding="utf-8"))
    ras = json.loads((folder / "ras.json").read_text(encoding="utf-8"))
    sampling = SamplingConfig(
        top_p=ras["params"]["top_p"],
        top_k=ras["params"]["top_k"],
        repetition_window=ras["params"]["win_size"],
        repetition_threshold=ras["params"]["tau_r"],
    )
    with tempfile.TemporaryDirectory() as temporary:
        llm_dir = Path(temporary)
        tiny = folder / "llm_tiny"
        base = tiny / "CosyVoice-BlankEN"
        config = merge_llm(tiny / "llm.pt", base, llm_dir, text_ids=meta["offset"])
        yield from _merge_cases(folder, llm_dir, config, meta)
        model = Model(llm_dir, config, "fp32")
        golden = by_case(load_file(folder / "llm_logits.safetensors"))
        for name, case in golden.items():
            yield from logit_cases(name, case, model)
        yield _int8_case(golden, llm_dir, config)
        for index, run in enumerate(meta.get("ras_generation_cpu", [])):
            yield generation_case(index, run, model, sampling, config.waiting_rows)
        yield from _interleaved_cases(meta["bistream"], llm_dir, model)
    logits = load_file(folder / "ras_logits.safetensors")
    yield _draw_case(ras["cases"], logits, sampling)
    for index, law in enumerate(ras["distribution"]):
        yield from _law_cases(index, law, sampling)


def by_case(tensors: Golden) -> dict[str, Golden]:
    """`c0.text` and the like -> one dict a case."""
    grouped: dict[str, Golden] = {}
    for key, value in sorted(tensors.items()):
        case, _, name = key.partition(".")
        grouped.setdefault(case, {})[name] = value
    return grouped


def _merge_cases(
    folder: Path, llm_dir: Path, config: SpeechIds, meta: dict[str, Any]
) -> Iterator[ParityResult]:
    golden_dir = folder / "llm_tiny" / "merged_hf"
    ours = [
        config.speech_offset,
        *config.stop_ids,
        config.sos_id,
        config.task_id,
        config.vocab_size,
    ]
    theirs = [meta["offset"], *meta["eos"], meta["sos"], meta["task_id"], meta["padded"]]
    yield equal("llm/merge/ids", ours, theirs)
    yield ParityResult("llm/merge/published", float(read_merged(golden_dir) != config), 0.0)
    golden, written = Checkpoint(golden_dir / WEIGHTS_NAME), Checkpoint(llm_dir / WEIGHTS_NAME)
    differing = len(set(golden) ^ set(written))
    for name in set(golden) & set(written):
        # the published form is bfloat16 and fills the padding rows with noise
        used = config.prompt_ids if name == EMBEDDING else None
        exact = torch.from_numpy(written.float32(name)[:used]).bfloat16().float().numpy()
        differing += int((exact != golden.float32(name)[:used]).sum())
    yield ParityResult("llm/merge/tensors", float(differing), 0.0, "values that differ in bfloat16")


def logit_cases(name: str, case: Golden, model: Model) -> Iterator[ParityResult]:
    prompt = model.prompt(case)
    ids = np.concatenate([prompt, case["forced"] + model.config.speech_offset])
    yield equal(f"llm/{name}/layout", list(ids), list(case["merged_input_ids"][0]))
    logits = np.stack([model.start(prompt), *(model.feed(int(code)) for code in case["forced"])])
    golden = np.concatenate([case["logits_first2"], case["logits_last"]])
    ours = np.concatenate([logits[: len(case["logits_first2"])], logits[-1:]])
    yield close(f"llm/{name}/logits", ours, golden, LOGIT_THRESHOLD)
    top = np.take_along_axis(logits, case["logits_top25_idx"].astype(np.int64), 1)
    steps = f"{len(logits)} steps"
    yield close(f"llm/{name}/top25", top, case["logits_top25_val"], LOGIT_THRESHOLD, steps)
    yield equal(f"llm/{name}/argmax", list(logits.argmax(1)), list(case["logsoftmax_argmax"]))


def _int8_case(golden: dict[str, Golden], llm_dir: Path, config: SpeechIds) -> ParityResult:
    """How far int8 weights turn the first logits; random tiny weights are its worst case."""
    model = Model(llm_dir, config, "int8")
    distances = []
    for case in golden.values():
        ours, exact = model.start(model.prompt(case)), case["logits_first2"][0]
        distances.append(1 - ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact))
    return ParityResult("llm/int8", float(max(distances)), math.inf, "1 - cosine of the logits")


def generation_case(
    index: int, run: dict[str, Any], model: Model, sampling: SamplingConfig, waiting: slice
) -> ParityResult:
    """waiting: rows that upstream bans before the minimum."""
    sampler = Sampler(
        sampling,
        SamplingParams(),
        waiting=waiting,
        min_tokens=run["min_len"],
        multinomial=torch_multinomial,
    )
    torch.manual_seed(run["torch_seed"])
    logits = model.start(model.prompt(run))
    tokens: list[int] = []
    while len(tokens) < run["max_len"]:
        token = sampler.draw(logits)
        if token >= model.config.speech_codes:
            break
        sampler.emit(token)
        tokens.append(token)
        logits = model.feed(token)
    note = f"of {len(run['tokens'])} tokens"
    return equal(f"llm/generation{index}", tokens, run["tokens"], note=note)


def _interleaved_cases(
    runs: list[dict[str, Any]], llm_dir: Path, model: Model
) -> Iterator[ParityResult]:
    config = model.config
    turns = Turns(TEXT_TURN, SPEECH_TURN, config.stop_ids[-1], config.task_id)
    bias = Checkpoint(llm_dir / WEIGHTS_NAME).float32(HEAD_BIAS)[config.speech_rows]
    for index, run in enumerate(runs):
        # the biases that the run had in the place of the checkpoint's
        given = {int(row): value for row, value in run["bias_override"].items()}
        end, other = sorted(given)
        draws = Draws({end: given[end] - float(bias[end])}, never=[other])
        yield interleaved_case(str(index), run, model, turns, draws)


def _draw_case(
    golden: list[dict[str, Any]], logits: Golden, sampling: SamplingConfig
) -> ParityResult:
    wrong, draws = 0, sum(len(case["tokens"]) for case in golden)
    for case in golden:
        scores = logits[f"l{case['case']}"]
        for seed, token in zip(case["torch_seeds"], case["tokens"], strict=True):
            sampler = Sampler(
                sampling,
                SamplingParams(),
                waiting=slice(len(scores) - 3, len(scores) - 2),
                min_tokens=len(case["decoded"]) + 1 if case["ignore_eos"] else 0,
                multinomial=torch_multinomial,
                emitted=case["decoded"],
            )
            torch.manual_seed(seed)
            wrong += sampler.draw(scores) != token
    return ParityResult("llm/ras/tokens", float(wrong), 0.0, f"of {draws} draws")


def _law_cases(
    index: int, golden: dict[str, Any], sampling: SamplingConfig
) -> Iterator[ParityResult]:
    logits = np.array(golden["logits"], np.float32)
    sampler = Sampler(
        sampling, SamplingParams(seed=index), waiting=slice(0), emitted=golden["decoded"]
    )
    recent = sorted(set(golden["decoded"][-sampling.repetition_window :]))
    law = repetition_aware_law(
        torch.from_numpy(logits),
        torch.tensor(recent, dtype=torch.int64),
        top_k=sampling.top_k,
        top_p=sampling.top_p,
    ).numpy()
    yield close(f"llm/ras/law{index}", law, golden["analytic_prob"], LAW_THRESHOLD)
    counts = np.bincount([sampler.draw(logits) for _ in range(DRAWS)], minlength=len(law))
    yield ParityResult(f"llm/ras/impossible{index}", float(counts[law == 0].sum()), 0.0)
    inverse = 1 / max(chi_squared_p_value(counts, law), 1e-300)
    yield ParityResult(f"llm/ras/draws{index}", inverse, 1 / P_VALUE, "1 / p-value")


def chi_squared_p_value(counts: NDArray[np.int64], law: NDArray[np.float64]) -> float:
    """Pearson's test of counts against a law; cells that expect fewer than 5 are pooled."""
    expected = law * counts.sum()
    rare = expected < 5
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(counts[~rare], counts[rare].sum())[expected > 0]
    expected = expected[expected > 0]
    if len(expected) == 1:
        return 1.0
    statistic = ((observed - expected) ** 2 / expected).sum()
    halves = torch.tensor([len(expected) - 1, statistic], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(halves[0], halves[1]))
