"""The two released ONNX models that read a reference recording, both at 16 kHz.

Both run on one thread without spinning: a reference is read once a voice, beside streams that are
already talking.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.frontend.audio.features import kaldi_fbank, whisper_log_mel


class Reader:
    """A model of recordings: arrays in, one array out."""

    def __init__(self, path: Path, inputs: int) -> None:
        """Raises ModelDirectoryError for a file that is no model, or one with other inputs."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # warnings about unused initialisers are not for the operator
        options.log_severity_level = 3
        self._path = path
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's errors have no common base but Exception
            raise ModelDirectoryError(f"{path}: cannot be loaded: {error}") from error
        self._inputs = [i.name for i in self._session.get_inputs()]
        if len(self._inputs) != inputs:
            raise ModelDirectoryError(
                f"{path}: has inputs {self._inputs}, expected {inputs} of them"
            )

    @property
    def shape(self) -> list[Any]:
        """Of what comes out; a dimension without a number has a name."""
        return list(self._session.get_outputs()[0].shape)

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        """arrays: in the order of the inputs. Raises StageFailed, naming the file, if it breaks."""
        try:
            output, *_ = self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))
        except Exception as error:  # as above
            raise StageFailed("frontend", f"{self._path} cannot be run: {error}") from error
        return np.asarray(output)


class SpeechTokenizer:
    """A tokenizer of speech that reads Whisper's log-mel: 25 codes a second."""

    def __init__(self, path: Path, codes: int) -> None:
        """codes: size of the codebook; a code outside 0 .. codes - 1 is an error."""
        self._path, self._read, self._codes = path, Reader(path, inputs=2), codes

    def __call__(self, wav: Float32) -> Int32:
        """Speech codes of (N,) samples at 16 kHz: (P,) int32, P = ceil(ceil(N / 160 / 2) / 2)."""
        log_mel = whisper_log_mel(wav)[None]
        length = np.array([log_mel.shape[2]], dtype=np.int32)
        tokens = self._read(log_mel, length).reshape(-1)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self._codes:
            raise StageFailed(
                "frontend",
                f"{self._path} gave codes {tokens.min()} to {tokens.max()}, "
                f"outside 0 to {self._codes - 1}",
            )
        return tokens.astype(np.int32)


class SpeakerEncoder:
    """A speaker encoder that reads Kaldi's fbank: one vector for the speaker."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._read, self._size = path, Reader(path, inputs=1), size

    def __call__(self, wav: Float32) -> Float32:
        """(size,) speaker vector, not normalised, of (N,) samples at 16 kHz."""
        embedding = self._read(kaldi_fbank(wav)[None]).reshape(-1)
        if embedding.shape != (self._size,) or not np.isfinite(embedding).all():
            raise StageFailed(
                "frontend",
                f"{self._path} gave shape {embedding.shape} or values that are not finite, "
                f"expected {self._size} numbers",
            )
        return embedding.astype(np.float32)
