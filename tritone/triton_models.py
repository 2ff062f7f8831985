"""The names of the Triton models that every public model calls."""

FRONTEND = "frontend"
LANGUAGE_MODEL = "tensorrt_llm"
FLOW = "token2wav"
VOCODER = "vocoder"

INNER_PARAMETER = "tritone_inner_key"  # of requests to them, with the key of their server

INNER = (FRONTEND, LANGUAGE_MODEL, FLOW, VOCODER)
