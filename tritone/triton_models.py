"""The names of the Triton models that every public model calls."""

FRONTEND = "frontend"
LANGUAGE_MODEL = "tensorrt_llm"
FLOW = "token2wav"
VOCODER = "vocoder"

INNER = (FRONTEND, LANGUAGE_MODEL, FLOW, VOCODER)
