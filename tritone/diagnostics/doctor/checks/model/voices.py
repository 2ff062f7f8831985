"""The voices that are registered in a model directory."""

from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.model.folder import no_model
from tritone.diagnostics.doctor.file_faults import names
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

if TYPE_CHECKING:
    from tritone.config import LLMConfig
    from tritone.frontend.voices import VoiceStore


@check("model.voices", unless=no_model, limit_s=20)
def voices(target: Target) -> Finding:
    """Every registered voice, and the default one."""
    from tritone.families import read_config
    from tritone.frontend.voices import VOICE_ID, VOICES_FOLDER, VoiceStore

    folder = target.model_dir
    try:
        config = read_config(folder)
    except ModelDirectoryError:
        return skipped("config.json cannot be read: model.config says why")
    store = VoiceStore(folder)
    known, default = store.names(), config.default_voice
    copy_in = f"copy the voice file into {folder / VOICES_FOLDER}, or convert again"
    if default is not None and default not in known:
        return failure(
            f"the default voice {default!r} of config.json is missing; {store.describe()}", copy_in
        )
    damaged = [fault for name in known if (fault := _voice_fault(store, name, config.llm))]
    if damaged:
        return failure("; ".join(damaged[:3]), copy_in)
    odd = [p for p in (folder / VOICES_FOLDER).glob("*") if not VOICE_ID.fullmatch(p.stem)]
    if odd:
        return warning(
            f"no voice can have these names: {names(odd, folder)}",
            "rename them: 1 to 64 of A-Z a-z 0-9 _ . -, not starting with . or -",
        )
    if not known:
        return passed("no voice is registered: each request must bring a reference recording")
    return passed(f"{len(known)} load, the default is {default}; {store.describe()}")


def _voice_fault(store: "VoiceStore", name: str, llm: "LLMConfig") -> str:
    try:
        codes = store.load(name).prompt_tokens
    except ModelDirectoryError as error:
        return str(error)
    if codes.size and not 0 <= codes.min() <= codes.max() < llm.speech_codes:
        return f"voice {name}: has speech codes outside 0 to {llm.speech_codes - 1}"
    return ""
