"""Which model of a server speaks, and at what rate; no I/O, so that both clients share it.

The model that speaks is the one whose configuration names the rate of its waveform.
"""

from collections.abc import Sequence

from tritonclient.grpc import service_pb2

from tritone_client.errors import SpeechError

ASK_TIMEOUT = 10.0
"""Seconds for one question about the server's models."""

_RATE = "sample_rate"


def ready_models(answer: service_pb2.ModelStatisticsResponse) -> list[str]:
    """Names of the models that a server has ready, from its statistics of all models."""
    return sorted({statistics.name for statistics in answer.model_stats})


def public_model(url: str, answers: Sequence[service_pb2.ModelConfigResponse]) -> str:
    """The model that speaks, from the configurations of all that are ready.

    Raises SpeechError where none does, or several do.
    """
    ready: list[str] = [answer.config.name for answer in answers]
    speaking: list[str] = [
        answer.config.name for answer in answers if _RATE in answer.config.parameters
    ]
    if len(speaking) == 1:
        return speaking[0]
    there = f"no model of {url} speaks; ready: {', '.join(ready) or 'none'}"
    if speaking:
        there = f"{url} has several models that speak: {', '.join(speaking)}"
    raise SpeechError(
        "FAILED_PRECONDITION" if speaking else "UNAVAILABLE",
        f"{there}; name the one that is meant: model= of the client, --model of the commands",
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
            f'parameters {{ key: "{_RATE}", value: {{ string_value: "HERTZ" }} }}',
        )
    return int(text)
