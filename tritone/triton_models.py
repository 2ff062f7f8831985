"""The names of the Triton models of a server, and what their requests to each other bring."""

FRONTEND = "frontend"
LANGUAGE_MODEL = "tensorrt_llm"
FLOW = "token2wav"
VOCODER = "vocoder"

INNER_PARAMETER = "tritone_inner_key"  # of requests to them, with the key of their server
PLACE_PARAMETER = "tritone_place"  # and with that of their stream on the board of those given up

INNER = (FRONTEND, LANGUAGE_MODEL, FLOW, VOCODER)
"""Those that every public model calls."""


def unary_of(public: str) -> str:
    """The folder of the model that gives whole utterances to clients that cannot stream, and its
    usual name."""
    return f"{public}_unary"
