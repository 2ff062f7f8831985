"""What the models import, each module in a process of its own."""

import sys
from concurrent.futures import ThreadPoolExecutor

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.finding import Finding, failure, passed
from tritone.diagnostics.doctor.isolated import Outcome, call
from tritone.diagnostics.doctor.module_import import import_module
from tritone.diagnostics.doctor.target import Target

IMPORTS = {
    "numpy": "numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "pydantic": "pydantic",
    "soundfile": "soundfile",
    "wetext": "wetext",
    "hibari": "hibari-tts",
    "psutil": "psutil",
    "tritonclient.grpc": "tritonclient",
}
"""Module -> distribution, of what the models, their launcher and its warm-up import."""

IMPORT_S = 30.0
"""Torch from a cold disk takes some 10 s, while others import."""

_FRAMES = 4


@check("python.imports", limit_s=IMPORT_S + 8)
def imports(target: Target) -> Finding:
    """Each module in a process of its own, all at once; one that hangs is named with its place."""
    with ThreadPoolExecutor(len(IMPORTS)) as pool:
        outcomes = dict(zip(IMPORTS, pool.map(import_alone, IMPORTS), strict=True))
    broken = {name: outcome for name, outcome in outcomes.items() if outcome.status != 0}
    if not broken:
        slowest = max(outcomes, key=lambda name: outcomes[name].seconds)
        return passed(
            f"{', '.join(outcomes)} import; slowest: {slowest}, {outcomes[slowest].seconds:.1f} s"
        )
    text = "; ".join(f"{name} {how_it_failed(outcome)}" for name, outcome in broken.items())
    return failure(text, _import_fix(next(iter(broken)), next(iter(broken.values()))))


def import_alone(module: str, limit_s: float = IMPORT_S) -> Outcome:
    return call(import_module, module, limit_s=limit_s)


def how_it_failed(outcome: Outcome) -> str:
    """Of an import: where it hung, how it crashed, or what it said."""
    if outcome.late:
        place = " < ".join(outcome.frames[:_FRAMES]) or outcome.waiting or "native code"
        return f"did not import within {outcome.seconds:.0f} s; it was in {place}"
    if outcome.status is not None and outcome.status < 0:
        what = "an instruction that this processor lacks" if outcome.status == -4 else "a crash"
        return f"ended with signal {-outcome.status} on import, {what}"
    return f"does not import: {outcome.last_line}"


def _import_fix(module: str, outcome: Outcome) -> str:
    if outcome.late:
        command = f"{sys.executable} -X importtime -c 'import {module}'"
        return f"{command}  # interrupt it: the last line came before"
    install = "-m pip install --force-reinstall --no-deps -c constraints.txt"
    return f"{sys.executable} {install} {IMPORTS[module]}"
