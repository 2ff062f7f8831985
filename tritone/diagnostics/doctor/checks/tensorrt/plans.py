"""The engines of a model directory: built for this machine, from these weights, and judged good.

tritone.engines says so, and needs torch for it: it runs in a process of its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError
from tritone.llm.trtllm.engine_folder import find_engine

if TYPE_CHECKING:
    from tritone.engines.machine import Machine

PLANS = ("flow", "vocoder")
_RECORDS = "engines/*/engine.json"
_LIMIT_S = 45.0
_NEED_ENGINE = ("gpu", "gpu-backend")


@check("tensorrt.plans", limit_s=_LIMIT_S + 5)
def plans(target: Target) -> Finding:
    """Every engine of the model directory, against this machine."""
    needed = target.profile in _NEED_ENGINE
    if not target.on_gpu:
        return skipped("profile cpu uses no engines")
    build = f"python scripts/build_engines.py {target.model_dir}"
    if needed:
        try:
            find_engine(target.model_dir)
        except ModelDirectoryError as error:
            return failure(str(error), build)
    if not any(target.model_dir.glob(_RECORDS)):
        if needed:
            return passed("one engine of the language model, without a record of its machine")
        return skipped(f"{target.model_dir} has no engines; flow and vocoder run on torch")
    return compared(target, build, needed)


def compared(target: Target, build: str, needed: bool) -> Finding:
    outcome = call(verdicts_here, str(target.model_dir), limit_s=_LIMIT_S)
    if outcome.late or outcome.status != 0:
        why = f"no answer within {_LIMIT_S:g} s" if outcome.late else outcome.last_line
        text = f"the engines cannot be compared with this machine: {why}"
        return failure(text, "python scripts/doctor.py --only gpu tensorrt.versions")
    verdicts: dict[str, str] = outcome.answer
    bad = [text for text in verdicts.values() if text]
    if bad:
        report = failure if needed else warning
        return report("; ".join(dict.fromkeys(bad)), build)
    return passed(f"built for this machine from these weights: {', '.join(verdicts)}")


def verdicts_here(model_dir: str) -> dict[str, str]:
    """In a process of its own: the verdicts on this machine; raises TritoneError."""
    from tritone.engines.machine import this_machine

    return verdicts_of(Path(model_dir), this_machine())


def verdicts_of(model_dir: Path, machine: "Machine") -> dict[str, str]:
    """Name of an engine and its precision -> why it is refused here, empty if it is not.

    Engines of other machines count only where there are none of this one.
    """
    from tritone.engines.model_graphs import Sources

    from tritone.engines.record import check_part, read_record
    from tritone.llm.checkpoint import LLM_DIR

    sources = Sources(model_dir)
    made_from = {graph.name: part for part in PLANS for graph in sources.outlines(part)}
    made_from[LLM_DIR] = LLM_DIR
    verdicts, records = dict[str, str](), []
    for path in sorted(model_dir.glob(_RECORDS)):
        try:
            records.append(read_record(path.parent))
        except ModelDirectoryError as error:
            verdicts[path.parent.name] = str(error)
    here = [record for record in records if record.machine == machine]
    for record in here or records:
        for name in sorted(record.parts.keys() & made_from.keys()):
            digest = sources.digest(made_from[name])
            key = f"{name} in {record.dtype}"
            try:
                check_part(model_dir, name, machine, record.dtype, digest)
                verdicts[key] = ""
            except ModelDirectoryError as error:
                verdicts[key] = str(error)
    return verdicts
