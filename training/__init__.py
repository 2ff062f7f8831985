"""How the embedded voice is made: from text and teacher voices to a checkpoint."""

import tritone  # noqa: F401  # before ONNX Runtime, which it keeps from reporting
