"""Everything that reads a file, each with a good file to be damaged.

A loader is run in a process of its own (`fuzzing.child`): foreign code below it may crash.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hypothesis.strategies import SearchStrategy

from fuzzing import reading
from fuzzing.damage import Damaged, damaged_file, damaged_json, damaged_safetensors
from fuzzing.reading import EMBEDDED
from fuzzing.texts import texts

PROJECT = Path(__file__).resolve().parents[1]
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


def _sound(kind: str, subtype: str) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        soundfile.write(
            file, np.stack([reading.noise(0.4)] * 2, axis=1), 16000, subtype, format=kind
        )
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
    "text": Loader("text.txt", reading.text, _texts, good=lambda: b"Hello.", share=6),
    "config.json": Loader("config.json", reading.config, damaged_json, EMBEDDED, share=15),
    "config.json, networks": Loader(
        "config.json", reading.networks, damaged_json, EMBEDDED, share=2
    ),
    "flow.safetensors": Loader(
        "flow.safetensors", reading.networks, damaged_safetensors, EMBEDDED, share=1
    ),
    "vocoder.safetensors": Loader(
        "vocoder.safetensors", reading.networks, damaged_safetensors, EMBEDDED, share=1
    ),
    "voice": Loader(
        "voices/joe.safetensors", reading.voice, damaged_safetensors, EMBEDDED, share=15
    ),
    "llm weights": Loader(
        "model.safetensors", reading.checkpoint, damaged_safetensors, TINY_LLM, share=5
    ),
    "llm config.json": Loader("config.json", reading.checkpoint, damaged_json, TINY_LLM),
    "llm graph": Loader(
        "llm/onnx/int8.onnx", reading.language_model, damaged_file, EMBEDDED, share=2
    ),
    "llm graph's data": Loader(
        "llm/onnx/int8.onnx.data", reading.language_model, damaged_file, EMBEDDED, share=1
    ),
    "tokenizer.json": Loader("tokenizer.json", reading.tokenizer, damaged_json, EMBEDDED),
    "phonemes.json": Loader("phonemes.json", reading.phonemes, damaged_json, EMBEDDED),
    "lexicon": Loader("lexicon.tsv", reading.lexicon, damaged_file, good=lambda: _WORDS),
    "release's YAML": Loader(
        "cosyvoice2.yaml", reading.yaml, damaged_file, GOLDEN / "token2wav" / "tiny_checkpoint"
    ),
    "release's voices": Loader(
        "spk2info_upstream.pt",
        reading.voices_of_release,
        damaged_file,
        GOLDEN / "llm_frontend",
        share=5,
    ),
    "release's weights": Loader(
        "hift.pt", reading.state, damaged_file, GOLDEN / "token2wav" / "tiny_checkpoint", share=3
    ),
    "speaker encoder": Loader(
        "speaker_encoder.onnx", reading.speaker_encoder, damaged_file, EMBEDDED, share=5
    ),
    "speech tokenizer": Loader(
        "speech_tokenizer_v2.onnx", reading.speech_tokenizer, damaged_file, TINY_ONNX, share=5
    ),
    "listener": Loader("listener.onnx", reading.listener, damaged_file, EMBEDDED, share=5),
    "manifest": Loader("manifest.txt", reading.manifest, damaged_file, good=lambda: _LINES),
    "client's manifest": Loader(
        "manifest.txt", reading.clients_manifest, damaged_file, good=lambda: _LINES
    ),
    "WAV": Loader("a.wav", reading.recording, damaged_file, good=_sound("WAV", "PCM_16")),
    "FLAC": Loader("a.flac", reading.recording, damaged_file, good=_sound("FLAC", "PCM_16")),
    "OGG": Loader("a.ogg", reading.recording, damaged_file, good=_sound("OGG", "VORBIS")),
    "manifest's WAV": Loader(
        "a.wav", reading.recording_of_manifest, damaged_file, good=_sound("WAV", "FLOAT")
    ),
    "manifest's FLAC": Loader(
        "a.flac", reading.recording_of_manifest, damaged_file, good=_sound("FLAC", "PCM_16")
    ),
    "engine's config.json": Loader(
        "config.json", reading.engine, damaged_json, good=_json_of(_ENGINE)
    ),
    "engine.json": Loader("engine.json", reading.record, damaged_json, good=_json_of(_RECORD)),
    "download's record": Loader(
        "download.json", reading.download, damaged_json, good=_json_of(_DOWNLOAD)
    ),
    "examined JSON": Loader("config.json", reading.examined, damaged_json, EMBEDDED),
    "examined safetensors": Loader(
        "voices/joe.safetensors", reading.examined, damaged_safetensors, EMBEDDED
    ),
}
