"""Which model of a server speaks, and at what rate; no I/O, so that both clients share it."""

from tritonclient.grpc import service_pb2

from tritone_client.errors import SpeechError

PUBLIC_MODELS = ("cosyvoice2", "cosyvoice3", "indextts2")
"""Names under which Tritone serves text to speech, one of them on each server."""

ASK_TIMEOUT = 10.0
"""Seconds for one question about the server's models."""

_RATE = "sample_rate"


def none_ready(url: str) -> SpeechError:
    """What is to be said where no public model is ready."""
    return SpeechError(
        "UNAVAILABLE",
        f"none of the models {', '.join(PUBLIC_MODELS)} is ready on {url}; if the server speaks "
        "with another one, name it: model= of the client, --model of the commands",
    )


def rate_of(model: str, answer: service_pb2.ModelConfigResponse) -> int:
    """Samples a second of what the model speaks, as its configuration says.

    Raises SpeechError where it does not say, or says no number.
    """
    text = answer.config.parameters[_RATE].string_value
    if not text.isdecimal() or int(text) == 0:
        said = f"{_RATE} {text!r}" if text else f"no {_RATE}"
        raise SpeechError(
            "FAILED_PRECONDITION",
            f"{model} has {said} among the parameters of its config.pbtxt; add the rate there: "
            f'parameters {{ key: "{_RATE}", value: {{ string_value: "24000" }} }}',
        )
    return int(text)
