"""CosyVoice3's language model against golden data: ids, logits of every step, seeded generations,
pauses that are cut short.

A golden folder holds `llm_tiny/` (a released checkpoint), `llm_logits.safetensors`, `llm_meta.json`
and `silent_filter.json`.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from parity import ParityResult, equal
from parity.interleaving import Draws, interleaved_case
from parity.llm import Golden, by_case, generation_case, logit_cases
from parity.one_stream import Model
from tritone.families.cosyvoice2.config import SPEECH_TURN, TEXT_TURN, SpeechIds
from tritone.families.cosyvoice2.rules import ChunkPolicy
from tritone.families.cosyvoice3.merge_llm import merge_llm
from tritone.families.cosyvoice3.rules import FILL, PausePlanner
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import Increment, Turns

# our names for the golden arrays of a case: those of CosyVoice2's golden folder
_RENAMED = {
    "top25_idx": "logits_top25_idx",
    "top25_val": "logits_top25_val",
    "argmax": "logsoftmax_argmax",
}


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare everything in a golden folder, one result a case."""
    meta = json.loads((folder / "llm_meta.json").read_text(encoding="utf-8"))
    ids = meta["merged_ids"]
    with tempfile.TemporaryDirectory() as temporary:
        llm_dir, tiny = Path(temporary), folder / "llm_tiny"
        base = tiny / "CosyVoice-BlankEN"
        config = merge_llm(tiny / "llm.pt", base, llm_dir, text_ids=ids["<|s_0|>"])
        yield _ids_case(config, meta)
        model = Model(llm_dir, config, "fp32")
        for name, case in by_case(load_file(folder / "llm_logits.safetensors")).items():
            renamed: Golden = {_RENAMED.get(key, key): value for key, value in case.items()}
            yield from logit_cases(name, renamed, model)
        # upstream bans the row of sos before the minimum, and no row that ends speech
        banned = slice(config.speech_codes, config.speech_codes + 1)
        for index, run in enumerate(meta["ras_generation_cpu"]):
            yield generation_case(index, run, model, SamplingConfig(), banned)
        yield from _interleaved_cases(meta, model)
    silent = json.loads((folder / "silent_filter.json").read_text(encoding="utf-8"))
    for index, case in enumerate(silent["cases"]):
        yield equal(f"llm/pauses{index}", heard(case["input"]), case["output"])


def _interleaved_cases(meta: dict[str, Any], model: Model) -> Iterator[ParityResult]:
    """Those with a reference. Without one upstream says a turn of speech before it has read any
    text, which is not copied; without an end of prompt it breaks off."""
    config, codes = model.config, model.config.speech_codes
    turns = Turns(TEXT_TURN, SPEECH_TURN, config.speech_offset + codes + FILL, config.task_id)
    end = config.stop_ids[0] - config.speech_offset
    stops = range(codes, codes + len(config.stop_ids))
    never = [row for row in stops if row not in (end, codes + FILL)]
    for run in filter(lambda run: run["prompt_speech"], meta["bistream"]):
        head = run["prompt_text"].index(meta["merged_ids"]["<|endofprompt|>"]) + 1
        draws = Draws({end: 4.0}, never, between=[codes])
        yield interleaved_case(run["case"], run, model, turns, draws, head)


def heard(codes: list[int]) -> list[int]:
    """What the flow gets of codes that come one by one."""
    planner = PausePlanner(ChunkPolicy(chunk=25, lookahead=3), prompt_tokens=0)
    for code in codes:
        planner.push(Increment(np.array([code], np.int32)))
    spoken: list[int] = planner.rest().ids.tolist()
    return spoken


def _ids_case(config: SpeechIds, meta: dict[str, Any]) -> ParityResult:
    ids, numbers = meta["merged_ids"], meta["converter_metadata"]
    ours = [
        config.speech_offset,
        config.speech_offset + config.speech_codes - 1,
        config.sos_id,
        config.stop_ids[0],
        config.task_id,
        max(config.stop_ids),
        config.vocab_size,
        len(config.stop_ids),
    ]
    names = ("<|s_0|>", "<|s_6560|>", "<|sos|>", "<|eos1|>", "<|task_id|>", "<|s_6760|>")
    stops = numbers["embedding_size"] - numbers["base_speech_token_size"]
    theirs = [*(ids[name] for name in names), numbers["padded_vocab_size"], stops]
    return equal("llm/merge/ids", ours, theirs)
