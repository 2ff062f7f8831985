"""The two released ONNX models that read a reference recording, both at 16 kHz.

Both run on one thread without spinning: a reference is read once a voice, beside streams that are
already talking.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.frontend.audio.features import kaldi_fbank, whisper_log_mel


def open_reader(path: Path, inputs: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # warnings about unused initialisers are not for the operator
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the library's errors have no common base but Exception
        raise ModelDirectoryError(f"{path}: cannot be loaded: {error}") from error
    if len(session.get_inputs()) != inputs:
        names = [i.name for i in session.get_inputs()]
        raise ModelDirectoryError(f"{path}: has inputs {names}, expected {inputs} of them")
    return session


class SpeechTokenizer:
    """A tokenizer of speech that reads Whisper's log-mel: 25 codes a second."""

    def __init__(self, path: Path, codes: int) -> None:
        """codes: size of the codebook; a code outside 0 .. codes - 1 is an error."""
        self._session = open_reader(path, inputs=2)
        self._features, self._lengths = (i.name for i in self._session.get_inputs())
        self._codes = codes

    def __call__(self, wav: Float32) -> Int32:
        """Speech codes of (N,) samples at 16 kHz: (P,) int32, P = ceil(ceil(N / 160 / 2) / 2)."""
        log_mel = whisper_log_mel(wav)[None]
        length = np.array([log_mel.shape[2]], dtype=np.int32)
        (output,) = self._session.run(None, {self._features: log_mel, self._lengths: length})
        tokens: Int32 = np.asarray(output).reshape(-1).astype(np.int32)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self._codes:
            raise StageFailed(
                "frontend",
                f"the speech tokenizer gave codes {tokens.min()} to {tokens.max()}, "
                f"outside 0 to {self._codes - 1}",
            )
        return tokens


class SpeakerEncoder:
    """A speaker encoder that reads Kaldi's fbank: one vector for the speaker."""

    def __init__(self, path: Path, size: int) -> None:
        self._session = open_reader(path, inputs=1)
        self._input = self._session.get_inputs()[0].name
        self._size = size

    def __call__(self, wav: Float32) -> Float32:
        """(size,) speaker vector, not normalised, of (N,) samples at 16 kHz."""
        (output,) = self._session.run(None, {self._input: kaldi_fbank(wav)[None]})
        embedding: NDArray[np.float32] = np.asarray(output, dtype=np.float32).reshape(-1)
        if embedding.shape != (self._size,) or not np.isfinite(embedding).all():
            raise StageFailed(
                "frontend",
                f"the speaker encoder gave shape {embedding.shape} or values that are not finite, "
                f"expected {self._size} numbers",
            )
        return embedding
