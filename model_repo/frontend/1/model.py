"""Text and reference audio in; one response for each segment of text out."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tritone.config import read_config
from tritone.frontend import Frontend
from tritone.limits import Limits
from tritone.serving.parameters import model_directory, parameters
from tritone.serving.replies import respond
from tritone.serving.request import read_request
from tritone.serving.tensors import response, tensor, text_tensor

STAGE = "frontend"


class TritonPythonModel:
    def initialize(self, args):
        values = parameters(args, threads=4, max_text_characters=Limits().max_text_characters)
        model_dir = model_directory(args)
        limits = Limits(max_text_characters=values["max_text_characters"])
        self._frontend = Frontend(model_dir, read_config(model_dir), limits)
        self._frontend.warm_up()
        self._pool = ThreadPoolExecutor(values["threads"], thread_name_prefix="frontend")

    def execute(self, requests):
        for request in requests:
            self._pool.submit(self._serve, request, request.get_response_sender())

    def _serve(self, request, sender):
        with respond(sender, STAGE) as send:
            first = True
            for segment in self._frontend.prepare(read_request(request)):
                info = {"text": segment.text, "notes": segment.notes}
                outputs = [
                    tensor("input_ids", segment.input_ids),
                    tensor("target_tokens", np.array([segment.target_tokens], dtype=np.int32)),
                    text_tensor("info", json.dumps(info)),
                ]
                send(response(*outputs, *(self._prompt(segment.voice) if first else ())))
                first = False

    @staticmethod
    def _prompt(voice):
        yield tensor("prompt_spk_embedding", voice.embedding)
        if len(voice.prompt_tokens):
            yield tensor("prompt_speech_tokens", voice.prompt_tokens)
            yield tensor("prompt_speech_feat", voice.prompt_mel)

    def finalize(self):
        self._pool.shutdown(wait=True)
