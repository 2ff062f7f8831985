"""How each kind of file is read, by the path of the file."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tritone.errors import InvalidRequest, ModelDirectoryError, StageFailed
from tritone.resources import embedded_voice
from tritone.synthesis.values import SynthesisRequest

EMBEDDED = embedded_voice()


def config(path: Path) -> None:
    from tritone.families import open_model

    open_model(path.parent)


def networks(path: Path) -> None:
    from tritone.acoustic.placement import FlowSettings, VocoderSettings
    from tritone.families import open_model

    model = open_model(path.parent)
    model.family.load_vocoder(model.folder, model.config, VocoderSettings())
    model.family.load_flow(model.folder, model.config, FlowSettings())


def voice(path: Path) -> None:
    from tritone.families.cosyvoice2.voice import Voice
    from tritone.frontend.voices import load_voice

    load_voice(path, Voice)


def checkpoint(path: Path) -> None:
    from tritone.llm.trtllm.source_checkpoint import open_llm

    source = open_llm(path.parent)
    for name in source.weights:
        source.weights.float32(name)


def language_model(path: Path) -> None:
    """Graphs have no checksum: other weights are known by what they say, if at all."""
    from tritone.families import open_model
    from tritone.llm.contract import GenerationRequest, Prompt
    from tritone.llm.slots.opening import open_onnx

    folder = next(f for f in path.parents if (f / "phonemes.json").exists())
    model = open_onnx(folder, open_model(folder).config, slots=2, max_tokens=64)
    try:
        request = GenerationRequest(Prompt(np.array([1, 2, 3], np.int32)), 2, 2)
        list(model.submit(request))
    except StageFailed as error:
        raise ModelDirectoryError(f"{path.name}: the first generation failed: {error}") from error
    finally:
        model.close()


def tokenizer(path: Path) -> None:
    from tritone.frontend.text.tokenizer import TextTokenizer

    tokenizer = TextTokenizer(path)
    tokenizer.decode(tokenizer.encode("Hello, world."))


@cache
def _known() -> Any:
    from tritone.frontend.text.tokenizer import TextTokenizer

    return TextTokenizer(EMBEDDED / "tokenizer.json")


def phonemes(path: Path) -> None:
    from tritone.frontend.text.pronounce import read_symbols

    read_symbols(path, _known())


def lexicon(path: Path) -> None:
    from tritone.frontend.text.lexicon import read_lexicon

    read_lexicon(path)


def yaml(path: Path) -> None:
    from tritone.checkpoints.plain_yaml import YamlValues
    from tritone.families.cosyvoice2 import released_model

    values = YamlValues(path)
    released_model.vocoder_config(values)
    values.integer("flow", "encoder", "output_size")
    values.integer("spk_embed_dim")
    values.number("token_mel_ratio")


def voices_of_release(path: Path) -> None:
    from tritone.families.cosyvoice2.voice import import_spk2info

    import_spk2info(path, lambda ids: " ".join(map(str, ids)))


def state(path: Path) -> None:
    from tritone.checkpoints.torch_file import plain_tensors

    plain_tensors(path)


def noise(seconds: float = 0.5) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def speaker_encoder(path: Path) -> None:
    from tritone.frontend.audio.encoders import SpeakerEncoder

    SpeakerEncoder(path, 192)(noise())


def speech_tokenizer(path: Path) -> None:
    from tritone.frontend.audio.encoders import SpeechTokenizer

    SpeechTokenizer(path, 6561)(noise())


def listener(path: Path) -> None:
    from tritone.families.cosyvoice2.transcript import Listener

    symbols = json.loads((EMBEDDED / "phonemes.json").read_text("utf-8"))
    characters = "".join(symbols.values())
    Listener(path, characters).align(np.arange(12, dtype=np.int32), characters[:4])


@cache
def _frontend() -> Any:
    from tritone.families import open_model
    from tritone.frontend.text.settings import text_settings
    from tritone.synthesis.limits import Limits

    model = open_model(EMBEDDED)
    return model.family.load_frontend(model.folder, model.config, Limits(), text_settings())


def text(path: Path) -> str:
    """Not a file of its own: a text as a request brings it."""
    text = path.read_bytes().decode("utf-8", "surrogatepass")
    try:
        list(_frontend().prepare(SynthesisRequest(text=text)))
    except InvalidRequest as error:
        return str(error) if error.field == "target_text" else ""
    return ""


def manifest(path: Path) -> str:
    from tritone.local.offline.manifest import read_manifest

    found = read_manifest(path)
    for item in found.items:
        item.load()
    return "; ".join(problem.message for problem in found.problems)


def clients_manifest(path: Path) -> None:
    from tritone_client.manifest import read_manifest

    read_manifest(path)


def recording_of_manifest(path: Path) -> str:
    lines = path.with_name("manifest.txt")
    lines.write_text(f"a|hello|{path.name}|Hello.")
    return manifest(lines)


def recording(path: Path) -> None:
    from tritone_client.recording import read_recording

    read_recording(path)


def engine(path: Path) -> None:
    from tritone.llm.trtllm.engine_folder import read_engine

    read_engine(path.parent)


def record(path: Path) -> None:
    from tritone.engines.record import read_record

    read_record(path.parent)


def download(path: Path) -> None:
    from tritone.checkpoints.release import read_record

    read_record(path.parent)


def examined(path: Path) -> str:
    """What the doctor and the converter say of a file, which is never an exception."""
    from tritone.checkpoints.verify import damage
    from tritone.diagnostics.doctor.file_faults import safetensors_fault

    told = damage(path, "copy it again")
    if path.is_file() and path.suffix == ".safetensors":
        told += safetensors_fault(path)
    return f"{path.name}: {told}" if told else ""
