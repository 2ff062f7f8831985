"""Everything that reads a file, each with a good file to be damaged.

A loader is run in a process of its own (`fuzzing.child`): foreign code below it may crash.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hypothesis.strategies import SearchStrategy

from fuzzing.damage import Damaged, damaged_file, damaged_json, damaged_safetensors
from fuzzing.texts import texts
from tritone.errors import InvalidRequest, ModelDirectoryError, StageFailed
from tritone.resources import embedded_voice
from tritone.synthesis.values import SynthesisRequest

PROJECT = Path(__file__).resolve().parents[1]
EMBEDDED = embedded_voice()
GOLDEN = PROJECT / "tests" / "golden"
TINY_LLM = GOLDEN / "llm_frontend" / "llm_tiny" / "merged_hf"
TINY_ONNX = GOLDEN / "tiny_onnx"

Damages = Callable[[bytes], SearchStrategy[Damaged]]


@dataclass(frozen=True)
class Loader:
    """file: the damaged one, within a copy of `base`. load: the file's path. good: its content
    where no file of `base` is to be damaged. share: of all cases, against
    others'."""

    file: str
    load: Callable[[Path], object]
    damages: Damages
    base: Path | None = None
    good: Callable[[], bytes] | None = None
    share: int = 10

    def content(self) -> bytes:
        if self.good:
            return self.good()
        assert self.base is not None
        return (self.base / self.file).read_bytes()


def _config(path: Path) -> None:
    from tritone.families import open_model

    open_model(path.parent)


def _networks(path: Path) -> None:
    from tritone.acoustic.placement import FlowSettings, VocoderSettings
    from tritone.families import open_model

    model = open_model(path.parent)
    model.family.load_vocoder(model.folder, model.config, VocoderSettings())
    model.family.load_flow(model.folder, model.config, FlowSettings())


def _voice(path: Path) -> None:
    from tritone.families.cosyvoice2.voice import Voice
    from tritone.frontend.voices import load_voice

    load_voice(path, Voice)


def _checkpoint(path: Path) -> None:
    from tritone.llm.trtllm.source_checkpoint import open_llm

    source = open_llm(path.parent)
    for name in source.weights:
        source.weights.float32(name)


def _language_model(path: Path) -> None:
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


def _tokenizer(path: Path) -> None:
    from tritone.frontend.text.tokenizer import TextTokenizer

    tokenizer = TextTokenizer(path)
    tokenizer.decode(tokenizer.encode("Hello, world."))


@cache
def _known() -> Any:
    from tritone.frontend.text.tokenizer import TextTokenizer

    return TextTokenizer(EMBEDDED / "tokenizer.json")


def _phonemes(path: Path) -> None:
    from tritone.frontend.text.pronounce import read_symbols

    read_symbols(path, _known())


def _lexicon(path: Path) -> None:
    from tritone.frontend.text.lexicon import read_lexicon

    read_lexicon(path)


def _yaml(path: Path) -> None:
    from tritone.checkpoints.plain_yaml import YamlValues
    from tritone.families.cosyvoice2 import released_model

    values = YamlValues(path)
    released_model.vocoder_config(values)
    values.integer("flow", "encoder", "output_size")
    values.integer("spk_embed_dim")
    values.number("token_mel_ratio")


def _voices_of_release(path: Path) -> None:
    from tritone.families.cosyvoice2.voice import import_spk2info

    import_spk2info(path, lambda ids: " ".join(map(str, ids)))


def _state(path: Path) -> None:
    from tritone.checkpoints.torch_file import plain_tensors

    plain_tensors(path)


def _noise(seconds: float = 0.5) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def _speaker_encoder(path: Path) -> None:
    from tritone.frontend.audio.encoders import SpeakerEncoder

    SpeakerEncoder(path, 192)(_noise())


def _speech_tokenizer(path: Path) -> None:
    from tritone.frontend.audio.encoders import SpeechTokenizer

    SpeechTokenizer(path, 6561)(_noise())


def _listener(path: Path) -> None:
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


def _text(path: Path) -> str:
    """Not a file of its own: a text as a request brings it."""
    text = path.read_bytes().decode("utf-8", "surrogatepass")
    try:
        list(_frontend().prepare(SynthesisRequest(text=text)))
    except InvalidRequest as error:
        return str(error) if error.field == "target_text" else ""
    return ""


def _manifest(path: Path) -> str:
    from tritone.local.offline.manifest import read_manifest

    manifest = read_manifest(path)
    for item in manifest.items:
        item.load()
    return "; ".join(problem.message for problem in manifest.problems)


def _clients_manifest(path: Path) -> None:
    from tritone_client.manifest import read_manifest

    read_manifest(path)


def _recording_of_manifest(path: Path) -> str:
    manifest = path.with_name("manifest.txt")
    manifest.write_text(f"a|hello|{path.name}|Hello.")
    return _manifest(manifest)


def _recording(path: Path) -> None:
    from tritone_client.recording import read_recording

    read_recording(path)


def _engine(path: Path) -> None:
    from tritone.llm.trtllm.engine_folder import read_engine

    read_engine(path.parent)


def _record(path: Path) -> None:
    from tritone.engines.record import read_record

    read_record(path.parent)


def _download(path: Path) -> None:
    from tritone.checkpoints.release import read_record

    read_record(path.parent)


def _examined(path: Path) -> str:
    """What the doctor and the converter say of a file, which is never an exception."""
    from tritone.checkpoints.verify import damage
    from tritone.diagnostics.doctor.file_faults import safetensors_fault

    told = damage(path, "copy it again")
    if path.is_file() and path.suffix == ".safetensors":
        told += safetensors_fault(path)
    return f"{path.name}: {told}" if told else ""


def _sound(kind: str, subtype: str) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        soundfile.write(file, np.stack([_noise(0.4)] * 2, axis=1), 16000, subtype, format=kind)
        return file.getvalue()

    return make


def _json_of(value: Any) -> Callable[[], bytes]:
    return lambda: json.dumps(value).encode()


_ENGINE = {
    "version": "1.0.0",
    "pretrained_config": {"vocab_size": 100, "mapping": {"world_size": 1}},
    "build_config": {"max_batch_size": 4, "max_input_len": 64, "max_seq_len": 128},
}
_DOWNLOAD = {
    "release": "a",
    "revision": None,
    "files": {"b": {"size": 1, "sha256": "c", "origin": "d"}},
}
_MACHINE = {"gpu": "H200", "compute_capability": "9.0", "driver": "570", "tensorrt": "10.0"}
_PART = {"source": "a", "settings": "b", "nbytes": 1, "seconds": 1.0, "gate": None}
_RECORD = {"format": 1, "machine": _MACHINE, "dtype": "bfloat16", "parts": {"flow": _PART}}
_LINES = b'a|||Hello.\n{"id": "b", "text": "Two.", "seed": 3, "speed": 1.5, "top_p": 0.5}\n'
_WORDS = "Tritone\tTRY-tone\nGIF\t/\u02a4\u026af/\tcase\ten\n# a comment\n".encode()


def _texts(_: bytes) -> SearchStrategy[Damaged]:
    return texts().map(lambda text: Damaged(text.encode("utf-8", "surrogatepass")))


LOADERS: dict[str, Loader] = {
    "text": Loader("text.txt", _text, _texts, good=lambda: b"Hello.", share=6),
    "config.json": Loader("config.json", _config, damaged_json, EMBEDDED, share=15),
    "config.json, networks": Loader("config.json", _networks, damaged_json, EMBEDDED, share=2),
    "flow.safetensors": Loader(
        "flow.safetensors", _networks, damaged_safetensors, EMBEDDED, share=1
    ),
    "vocoder.safetensors": Loader(
        "vocoder.safetensors", _networks, damaged_safetensors, EMBEDDED, share=1
    ),
    "voice": Loader("voices/joe.safetensors", _voice, damaged_safetensors, EMBEDDED, share=15),
    "llm weights": Loader("model.safetensors", _checkpoint, damaged_safetensors, TINY_LLM, share=5),
    "llm config.json": Loader("config.json", _checkpoint, damaged_json, TINY_LLM),
    "llm graph": Loader("llm/onnx/int8.onnx", _language_model, damaged_file, EMBEDDED, share=2),
    "llm graph's data": Loader(
        "llm/onnx/int8.onnx.data", _language_model, damaged_file, EMBEDDED, share=1
    ),
    "tokenizer.json": Loader("tokenizer.json", _tokenizer, damaged_json, EMBEDDED),
    "phonemes.json": Loader("phonemes.json", _phonemes, damaged_json, EMBEDDED),
    "lexicon": Loader("lexicon.tsv", _lexicon, damaged_file, good=lambda: _WORDS),
    "release's YAML": Loader(
        "cosyvoice2.yaml", _yaml, damaged_file, GOLDEN / "token2wav" / "tiny_checkpoint"
    ),
    "release's voices": Loader(
        "spk2info_upstream.pt", _voices_of_release, damaged_file, GOLDEN / "llm_frontend", share=5
    ),
    "release's weights": Loader(
        "hift.pt", _state, damaged_file, GOLDEN / "token2wav" / "tiny_checkpoint", share=3
    ),
    "speaker encoder": Loader(
        "speaker_encoder.onnx", _speaker_encoder, damaged_file, EMBEDDED, share=5
    ),
    "speech tokenizer": Loader(
        "speech_tokenizer_v2.onnx", _speech_tokenizer, damaged_file, TINY_ONNX, share=5
    ),
    "listener": Loader("listener.onnx", _listener, damaged_file, EMBEDDED, share=5),
    "manifest": Loader("manifest.txt", _manifest, damaged_file, good=lambda: _LINES),
    "client's manifest": Loader(
        "manifest.txt", _clients_manifest, damaged_file, good=lambda: _LINES
    ),
    "WAV": Loader("a.wav", _recording, damaged_file, good=_sound("WAV", "PCM_16")),
    "FLAC": Loader("a.flac", _recording, damaged_file, good=_sound("FLAC", "PCM_16")),
    "OGG": Loader("a.ogg", _recording, damaged_file, good=_sound("OGG", "VORBIS")),
    "manifest's WAV": Loader(
        "a.wav", _recording_of_manifest, damaged_file, good=_sound("WAV", "FLOAT")
    ),
    "manifest's FLAC": Loader(
        "a.flac", _recording_of_manifest, damaged_file, good=_sound("FLAC", "PCM_16")
    ),
    "engine's config.json": Loader("config.json", _engine, damaged_json, good=_json_of(_ENGINE)),
    "engine.json": Loader("engine.json", _record, damaged_json, good=_json_of(_RECORD)),
    "download's record": Loader("download.json", _download, damaged_json, good=_json_of(_DOWNLOAD)),
    "examined JSON": Loader("config.json", _examined, damaged_json, EMBEDDED),
    "examined safetensors": Loader(
        "voices/joe.safetensors", _examined, damaged_safetensors, EMBEDDED
    ),
}
