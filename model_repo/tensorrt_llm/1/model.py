"""The language model on one of our runtimes, or another server's, behind the tensors of the
TensorRT-LLM backend."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tritone.llm.runtimes import runtime_named, warm_up
from tritone.serving.generation_tensors import read_extension, read_generation
from tritone.serving.generations import Generations
from tritone.serving.messages import inner_inputs, request_id, respond
from tritone.serving.parameters import (
    changed_parameters,
    given_parameters,
    parameters,
    served_model,
    watched,
)
from tritone.synthesis.rules import Hops
from tritone.triton_models import LANGUAGE_MODEL

if TYPE_CHECKING:
    from tritone.serving.remote_generations import RemoteGenerations


def _check_engine(*arguments: Any) -> None:
    """Imported here, as it needs torch, without which a CPU serves with 120 MB less."""
    from tritone.engines.record import check_language_model

    check_language_model(*arguments)


def _generations(args: Mapping[str, str]) -> Generations:
    """Of a runtime in this process."""
    usual = runtime_named(given_parameters(args).get("runtime"))
    model = served_model()
    runtime = model.family.runtime(usual)
    values = parameters(args, runtime="", url="", **{**usual.parameters(), **runtime.parameters()})
    del values["runtime"], values["url"]
    values = runtime.in_place_of(usual, values, changed_parameters(args))
    language_model = runtime.open(
        model.folder, model.language_model, check_engine=_check_engine, **values
    )
    example = model.family.example_prompt(model.config, np.zeros(0, np.int32))
    warm_up(language_model, example)
    most = language_model.slots + values["max_waiting"]
    rate = float(model.family.rules(model.config, Hops()).rates.tokens)
    return Generations(language_model, most, LANGUAGE_MODEL, rate)


def _elsewhere(args: Mapping[str, str]) -> "RemoteGenerations | None":
    """Of the server that the parameter `url` names, once that is ready; None where it names none.
    Imported here, as gRPC takes 19 MB."""
    if not given_parameters(args).get("url"):
        return None
    from tritone.serving.remote_generations import opened

    return opened(args)


class TritonPythonModel:
    @watched(LANGUAGE_MODEL)
    def initialize(self, args: Mapping[str, str]) -> None:
        self._elsewhere = _elsewhere(args)
        self._here = None if self._elsewhere else _generations(args)

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._begin(request, sender)
            except Exception:
                with respond(sender, LANGUAGE_MODEL):
                    raise

    def _begin(self, request: Any, sender: Any) -> None:
        name, inputs = request_id(request), inner_inputs(request)
        if self._elsewhere:
            self._elsewhere.start(request, sender)
        elif self._here and inputs.flag("stop"):
            self._here.stop(name, sender)
        elif self._here and inputs.flag("extend"):
            self._here.extend(name, read_extension(inputs), sender)
        elif self._here:
            self._here.start(name, read_generation(inputs), sender)

    def finalize(self) -> None:
        for generations in (self._elsewhere, self._here):
            if generations:
                generations.close()
