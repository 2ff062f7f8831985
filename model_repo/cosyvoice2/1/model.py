"""The public model: text in, audio chunks out, over the other four models."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tritone.config import read_config
from tritone.errors import Overloaded
from tritone.llm.bias import logit_bias
from tritone.serving.account import account
from tritone.serving.load_log import staged
from tritone.serving.parameters import model_directory, parameters, torch_device_name
from tritone.serving.replies import respond
from tritone.serving.request import read_request
from tritone.serving.speech_metrics import SpeechMetrics
from tritone.serving.stages import Caller, TritonStages
from tritone.serving.tensors import response, tensor, text_tensor
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.timing import Timing

STAGE = "cosyvoice2"


class TritonPythonModel:
    @staged(STAGE)
    def initialize(self, args):
        defaults, limits = Settings(), Limits()
        values = parameters(
            args,
            sample_rate=0,
            max_streams=16,
            flow_together=4 if torch_device_name() == "cpu" else 16,
            first_hop=defaults.first_hop,
            max_hop=defaults.max_hop,
            max_segment_tokens=defaults.max_segment_tokens,
            max_text_characters=limits.max_text_characters,
        )
        values.pop("sample_rate")  # for clients: the configuration is all that they can read
        self._max_streams = values.pop("max_streams")
        self._turns = StageTurns(flow=values.pop("flow_together"))
        limits = Limits(max_text_characters=values.pop("max_text_characters"))
        self._settings = Settings(limits=limits, **values)
        model_dir = model_directory(args)
        self._config = read_config(model_dir)
        self._settings.speech_policy(self._config)  # a hop that cannot be fails now, not later
        self._bias = logit_bias(model_dir, self._config.llm)
        self._streams, self._counting = 0, threading.Lock()
        self._metrics = SpeechMetrics(self._turns)
        self._pool = ThreadPoolExecutor(self._max_streams, thread_name_prefix="stream")

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            timing = Timing(self._config.sample_rate)
            try:
                self._enter()
            except Overloaded:
                with self._answering(request, sender, timing):
                    raise
            else:
                self._pool.submit(self._serve, request, sender, timing)

    def _enter(self):
        with self._counting:
            if self._streams >= self._max_streams:
                raise Overloaded(f"{self._streams} streams are running, the limit; retry later")
            self._streams += 1
            self._metrics.streams.set(self._streams)

    def _leave(self):
        with self._counting:
            self._streams -= 1
            self._metrics.streams.set(self._streams)

    def _serve(self, request, sender, timing):
        timing.mark("started")
        with self._answering(request, sender, timing) as (send, account):
            try:
                self._speak(request, sender, send, account)
            finally:
                self._leave()  # before the last response: who has it may ask again at once

    @contextmanager
    def _answering(self, request, sender, timing):
        """Errors are noted in the account, then sent; it is closed after the last response."""
        request_id = request.request_id()
        with (
            account(request_id, timing, self._metrics) as kept,
            respond(sender, STAGE) as send,
            kept.noting(),
        ):
            yield send, kept

    def _speak(self, request, sender, send, account):
        with_timing = "timing" in request.requested_output_names()
        chunks = synthesize(
            read_request(request),
            TritonStages(Caller(account.id), self._config, self._bias),
            self._config,
            self._settings,
            cancelled=sender.is_cancelled,
            turns=self._turns,
            timing=account.timing,
        )
        for chunk in chunks:
            outputs = [tensor("waveform", chunk.samples[None])]
            if with_timing:
                outputs.append(text_tensor("timing", json.dumps(account.record()), batched=True))
            send(response(*outputs))
            account.packet()

    def finalize(self):
        self._pool.shutdown(wait=True)
        self._metrics.close()
