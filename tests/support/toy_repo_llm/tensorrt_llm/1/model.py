"""A language model whose generations give one token, and end only when they are cancelled."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

TOKEN = 6561  # a code of speech: an id that no stop id has
POLL_S = 0.005


class TritonPythonModel:
    def initialize(self, args):
        self.pool = ThreadPoolExecutor(max_workers=8)

    def execute(self, requests):
        for request in requests:
            self.pool.submit(self.generate, request.get_response_sender())

    def generate(self, sender):
        outputs = [
            pb_utils.Tensor("output_ids", np.array([[[TOKEN]]], np.int32)),
            pb_utils.Tensor("sequence_length", np.array([[1]], np.int32)),
        ]
        sender.send(pb_utils.InferenceResponse(output_tensors=outputs))
        while not sender.is_cancelled():
            time.sleep(POLL_S)
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def finalize(self):
        self.pool.shutdown()
