"""The doctor's checks that need a model's family, whichever it is.

As the families' own checks they are loaded without this package around them, which may need what is
broken; they import it when they run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.machine.capacity import (
    available_memory,
    memory_for,
    weight_bytes,
)
from tritone.diagnostics.doctor.checks.model import convert, is_release, no_model
from tritone.diagnostics.doctor.file_faults import names
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.launcher.model_processes import find_server
from tritone.launcher.profiles import language_model_parameters
from tritone.llm.trtllm.engine_folder import find_engine
from tritone.loading.needs import check_room, told

if TYPE_CHECKING:
    from tritone.engines.machine import Machine
    from tritone.families import Model
    from tritone.frontend.voices import VoiceStore
    from tritone.loading.needs import Need

_RECORDS = "engines/*/engine.json"
_LIMIT_S = 45.0


@check("model.config")
def config(target: Target) -> Finding:
    """config.json: every key known, of the right type, and a family that there is code for."""
    from tritone.families import open_model

    folder = target.model_dir
    if not folder.is_dir():
        fix = "name the model directory with --model, or fetch and convert the release: make model"
        return failure(f"{folder} does not exist", fix)
    if is_release(folder):
        text = f"{folder} is a release as it was downloaded, not yet a model directory"
        return failure(text, convert(folder))
    try:
        found = open_model(folder).config
    except (ModelDirectoryError, UnicodeDecodeError, OSError) as error:
        return failure(str(error), "convert the checkpoint again: " + convert())
    return passed(f"{found.family}, {found.sample_rate} Hz, default voice {found.default_voice}")


@check("model.voices", unless=no_model, limit_s=20)
def voices(target: Target) -> Finding:
    """Every registered voice, and the default one."""
    from tritone.families import open_model
    from tritone.frontend.voices import VOICE_ID, VOICES_FOLDER, VoiceStore

    folder = target.model_dir
    try:
        model = open_model(folder)
    except ModelDirectoryError:
        return skipped("config.json cannot be read: model.config says why")
    store = VoiceStore(folder)
    known, default = store.names(), model.config.default_voice
    copy_in = f"copy the voice file into {folder / VOICES_FOLDER}, or convert again"
    if default is not None and default not in known:
        lost = f"the default voice {default!r} of config.json is missing; {store.describe()}"
        return failure(lost, copy_in)
    damaged = [fault for name in known if (fault := _voice_fault(store, name, model))]
    if damaged:
        return failure("; ".join(damaged[:3]), copy_in)
    odd = [p for p in (folder / VOICES_FOLDER).glob("*") if not VOICE_ID.fullmatch(p.stem)]
    if odd:
        rename = "rename them: 1 to 64 of A-Z a-z 0-9 _ . -, not starting with . or -"
        return warning(f"no voice can have these names: {names(odd, folder)}", rename)
    if not known:
        return passed("no voice is registered: each request must bring a reference recording")
    return passed(f"{len(known)} load, the default is {default}; {store.describe()}")


def _voice_fault(store: "VoiceStore", name: str, model: "Model") -> str:
    try:
        voice = store.load(name, model.family.voice)
    except ModelDirectoryError as error:
        return str(error)
    fault = model.family.voice_fault(model.config, voice)
    return f"voice {name}: {fault}" if fault else ""


@check("machine.memory")
def memory(target: Target) -> Finding:
    """What a server takes, against what is free: by the family's own prediction, with which loading
    begins, or from the size of the weights where it has none."""
    free, facts = available_memory()
    if problem := no_model(target):
        return skipped(f"{facts}; what is needed is not known: {problem}")
    try:
        parts = _needs(target)
    except ModelDirectoryError as error:
        return skipped(f"{facts}; what is needed is not known: {error}")
    if parts:
        facts = f"a server takes {told(parts)}; {facts}"
    if (server := find_server(target.http_port)) is not None:
        return passed(f"{facts}; the server of process {server} runs and has its own")
    if not parts:
        return memory_for(weight_bytes(target), free, facts)
    try:
        check_room(parts, free)
    except EnvironmentProblem as error:
        return failure(facts, str(error))
    return passed(facts)


def _needs(target: Target) -> "Sequence[Need]":
    """None where what families need cannot be imported, of which python.imports tells. Raises
    ModelDirectoryError."""
    try:
        from tritone.families import open_model
    except ImportError:
        return ()
    family = open_model(target.model_dir).family
    values = language_model_parameters(target.settings())
    return family.memory(target.model_dir, target.profile, values)


@check("tensorrt.plans", limit_s=_LIMIT_S + 5)
def plans(target: Target) -> Finding:
    """Every engine of the model directory: built for this machine, from these weights, and judged
    good."""
    needed = target.profile in ("gpu", "gpu-backend")
    if not target.on_gpu:
        return skipped("profile cpu uses no engines")
    build = f"tritone engines {target.model_dir}"
    if needed:
        try:
            find_engine(target.model_dir)
        except ModelDirectoryError as error:
            return failure(str(error), build)
    if not any(target.model_dir.glob(_RECORDS)):
        if needed:
            return passed("one engine of the language model, without a record of its machine")
        return skipped(f"{target.model_dir} has no engines; flow and vocoder run on torch")
    return _compared(target, build, failure if needed else warning)


def _compared(target: Target, build: str, report: Callable[[str, str], Finding]) -> Finding:
    outcome = call(verdicts_of, str(target.model_dir), limit_s=_LIMIT_S)
    if outcome.status != 0:
        why = f"no answer within {_LIMIT_S:g} s" if outcome.late else outcome.last_line
        text = f"the engines cannot be compared with this machine: {why}"
        return failure(text, "tritone doctor --only gpu tensorrt.versions")
    verdicts: dict[str, str] = outcome.answer
    if bad := [text for text in verdicts.values() if text]:
        return report("; ".join(dict.fromkeys(bad)), build)
    return passed(f"built for this machine from these weights: {', '.join(verdicts)}")


def verdicts_of(folder: str, machine: "Machine | None" = None) -> dict[str, str]:
    """Name of an engine and its precision -> why it is refused here, empty if it is not.

    Engines of other machines count only where there are none of this one. machine: None for the one
    that this runs on. Raises TritoneError.
    """
    from tritone.engines.machine import this_machine
    from tritone.engines.record import check_part, read_record
    from tritone.engines.sources import LLM, Sources
    from tritone.families import open_model
    from tritone.llm.config import decoder_config

    model_dir, machine = Path(folder), machine or this_machine()
    model = open_model(model_dir)
    given = model.family.graph_source(model_dir, model.config)
    assert given is not None, f"{model.family.name} has no engines"
    sources = Sources(model_dir, decoder_config(model.language_model), given)
    made_from = {graph.name: part for part in sources.parts for graph in sources.outlines(part)}
    made_from[LLM] = LLM
    verdicts, records = dict[str, str](), []
    for path in sorted(model_dir.glob(_RECORDS)):
        try:
            records.append(read_record(path.parent))
        except ModelDirectoryError as error:
            verdicts[path.parent.name] = str(error)
    here = [record for record in records if record.machine == machine]
    for record in here or records:
        for name in sorted(record.parts.keys() & made_from.keys()):
            digest, key = sources.digest(made_from[name]), f"{name} in {record.dtype}"
            try:
                check_part(model_dir, name, machine, record.dtype, digest)
                verdicts[key] = ""
            except ModelDirectoryError as error:
                verdicts[key] = str(error)
    return verdicts


CHECKS = (memory, config, voices, plans)
