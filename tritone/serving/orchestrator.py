"""The public model of every family: text in, audio chunks out, over the other models.

Its Triton model has the family's name; its `model.py` imports `TritonPythonModel` from here.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from tritone.arrays import Float32
from tritone.errors import ModelDirectoryError
from tritone.families import Model
from tritone.frontend.registry.lookup import RegisteredVoices
from tritone.llm.checkpoint import logit_bias
from tritone.llm.config import decoder_config
from tritone.llm.runtimes import can_extend, needs_bias
from tritone.serving.account import Account, SpeechMetrics
from tritone.serving.decoupled_call import GATE
from tritone.serving.frontend_tensors import read_request, text_array
from tritone.serving.messages import (
    Inputs,
    request_id,
    respond,
    respond_once,
    response,
    tensor,
)
from tritone.serving.neighbours import Calls, Neighbours, being_replaced
from tritone.serving.open_streams import OpenStream, OpenStreams
from tritone.serving.parameters import device_name, parameters, served_model, watched
from tritone.serving.stages import TritonStages
from tritone.serving.text_streams import TextStreams
from tritone.serving.unary_calls import STOP, UnaryCalls, said
from tritone.serving.wanted import BOARD
from tritone.synthesis.admission import Admission, AdmissionLimits
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.timing import Timing
from tritone.triton_models import INNER, LANGUAGE_MODEL
from tritone.unwanted_board import StreamPlace
from tritone.variables import PROFILE_VARIABLE
from tritone.voice import Voice

VOICES = "voices"  # the output that is asked for alone
_ON_CPU = {"flow_together": 4, "max_streams": 16}
_ON_GPU = {"flow_together": 16, "max_streams": 64}  # of them may be solved together, and spoken
_IDLE_S = 30.0  # that the next piece of a text may take


class TritonPythonModel:
    """One instance serves all streams from threads."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._name = args["model_name"]
        with watched(self._name):
            values = _parameters(args)
            model = served_model()
            self._check(model, values["sample_rate"])
            self._rules = model.family.rules(
                model.config, Hops(values["first_hop"] or None, values["max_hop"] or None)
            )
            self._settings = Settings(
                Limits(max_text_characters=values["max_text_characters"]),
                max_segment_seconds=values["max_segment_seconds"],
                max_retry_seconds=values["max_retry_seconds"],
            )
            self._turns = StageTurns(flow=values["flow_together"])
            self._model, self._bias = model, _bias(model)
            self._extends = can_extend(os.environ.get(PROFILE_VARIABLE))
            family, folder = model.family, model.folder
            self._voices: RegisteredVoices[Voice] = RegisteredVoices(
                folder, family.name, family.voice, lambda: family.encoders(folder)
            )
            self._metrics = SpeechMetrics(self._turns)
            self._admission = Admission(
                AdmissionLimits(**{name: values[name] for name in asdict(AdmissionLimits())}),
                self._metrics.streams.set,
                lambda decision: self._metrics.admissions.add(1, decision),
                expected=self._metrics.places.set,
            )
            self._open = OpenStreams(self._name)
            self._unary = UnaryCalls()
            self._texts = TextStreams(
                self._name, values["max_text_characters"], values["text_idle_seconds"]
            )
            self._neighbours = Neighbours(INNER, self._lost, self._forget)

    def _check(self, model: Model, sample_rate: int) -> None:
        """A public model serves the family of its name, at the rate that its clients read."""
        if model.family.name != self._name:
            raise ModelDirectoryError(
                f"{model.folder} is of the family {model.family.name}; the public model "
                f"{self._name} cannot serve it: load the one named {model.family.name}"
            )
        if sample_rate not in (0, model.config.sample_rate):
            raise ModelDirectoryError(
                f"{model.folder} speaks at {model.config.sample_rate} Hz and config.pbtxt of "
                f"{self._name} says {sample_rate}"
            )

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            if list(request.requested_output_names()) == [VOICES]:
                # in a thread: the first time it may have to read the checkpoint's encoders
                threading.Thread(target=self._tell_voices, args=[sender], daemon=True).start()
                continue
            if (stopped := said(request, STOP)) is not None:
                self._unary.stop(stopped)
                respond_once(sender, self._name, response)
                continue
            if self._texts.goes_on(request):
                self._texts.go_on(request, sender)
                continue
            account = Account(Timing(self._rules.rates.sample_rate), self._metrics)
            calls = Calls(self._neighbours, StreamPlace(BOARD))
            unary, text = self._unary.of(request), self._texts.begin(request)
            stream = OpenStream(sender, account, calls, unary, text)
            # no pool: a thread that waits for a model that died may never come back to it
            threading.Thread(
                target=self._serve, args=(request, stream), name="stream", daemon=True
            ).start()

    def _tell_voices(self, sender: Any) -> None:
        """The ids of the registered voices, whatever else is in the request: nothing is spoken."""
        with respond(sender, self._name, public=True) as send:
            names = [name.encode() for name in self._voices.names()]
            if names:  # an empty tensor would say no more
                send(response(tensor(VOICES, np.array([names], np.object_))))

    def _lost(self, model: str) -> None:
        """The process of another model has ended."""
        self._forget(model)
        self._metrics.losses.add(1, model)
        self._open.end_those_that_wait_for(model)

    @staticmethod
    def _forget(model: str) -> None:
        """Nothing more comes of what was read from it: when it ended, or began after that."""
        if model == LANGUAGE_MODEL:  # the one that answers in parts
            GATE.forget()

    def _serve(self, request: Any, stream: OpenStream) -> None:
        """Errors are noted in the account, then sent; it is closed after the last response."""
        with (
            self._open.keep(stream),
            respond(stream, self._name, public=True) as send,
            stream.account.noting(),
        ):
            stream.account.name(request_id(request))
            if stream.text and stream.text.refusal:
                raise stream.text.refusal
            if lost := self._neighbours.lost:
                raise being_replaced(lost)
            stream.enter(self._admission)
            stream.account.timing.mark("started")
            try:
                self._speak(request, stream, send)
            finally:
                stream.leave()  # before the last response: its reader may ask again

    def _speak(self, request: Any, stream: OpenStream, send: Any) -> None:
        with_timing = "timing" in request.requested_output_names()
        model, kept = self._model, stream.account
        live = stream.text.live if stream.text else None
        stages = TritonStages(
            kept.id,
            stream.calls,
            model.language_model,
            model.family.voice,
            self._bias,
            takes_open_text=self._extends,
        )
        chunks = synthesize(
            read_request(Inputs(request)),
            stages,
            self._rules,
            self._settings,
            cancelled=stream.is_cancelled,
            turns=self._turns,
            timing=kept.timing,
            live=live,
        )
        for chunk in chunks:
            outputs = [tensor("waveform", chunk.samples[None])]
            if with_timing:
                outputs.append(tensor("timing", text_array(json.dumps(kept.record()))[None]))
            send(response(*outputs))
            kept.update()
            # when text comes in pieces nobody can predict
            if kept.timing.packets == 1 and not live and (ratio := stream.heard()):
                self._metrics.forecast.observe(ratio)

    def finalize(self) -> None:
        self._open.close()
        self._neighbours.close()
        self._metrics.close()


def _parameters(args: Mapping[str, str]) -> dict[str, Any]:
    """All with their defaults. Raises ValueError for one that is unknown or does not parse."""
    sizes = _ON_CPU if device_name() == "cpu" else _ON_GPU
    return parameters(
        args,
        **{**asdict(AdmissionLimits()), **sizes},
        first_hop=0,
        max_hop=0,
        max_segment_seconds=Settings().max_segment_seconds,
        max_retry_seconds=Settings().max_retry_seconds,
        max_text_characters=Limits().max_text_characters,
        text_idle_seconds=_IDLE_S,
        sample_rate=0,
        emotions="",  # for clients
    )


def _bias(model: Model) -> Float32 | None:
    """The bias of the speech head where requests must bring it. A server that was not started by
    the launcher may have any backend."""
    profile = os.environ.get(PROFILE_VARIABLE)
    if profile is not None and not needs_bias(profile):
        return None
    language_model = model.language_model
    if profile is None and language_model.llm.gives_latents:
        return None  # no other backend has them
    return logit_bias(model.folder, decoder_config(language_model).llm)
