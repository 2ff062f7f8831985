"""A stand-in for the public model: one tone a word; clients and launcher need no checkpoint.

Words are spoken one packet each (PACKET samples). Two are not spoken: `fail` ends the utterance
with INVALID_ARG, and `wait:NAME` is a gate at which it waits until the file NAME is there, beside
the one named by TOY_EVENTS. To that one go, as JSON lines, what the model received, and when it
waits, is cancelled, or has finished.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

RATE = 24000
PACKET = 2400
GATE = "wait:"
POLL_S = 0.005
INPUTS = (
    "target_text",
    "reference_wav",
    "reference_wav_len",
    "reference_sample_rate",
    "reference_text",
    "instruct_text",
    "voice",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "speed",
    "streaming",
)


def note(**event):
    path = os.environ.get("TOY_EVENTS")
    if path:
        with open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")


def received(request):
    """Input name -> [dtype, shape, first four values]."""
    found = {}
    for name in INPUTS:
        tensor = pb_utils.get_input_tensor_by_name(request, name)
        if tensor is not None:
            array = tensor.as_numpy()
            flat = [v.decode() if isinstance(v, bytes) else v.item() for v in array.reshape(-1)[:4]]
            found[name] = [str(array.dtype), list(array.shape), flat]
    return found


def opened(word, sender):
    """Wait at this gate; false when the request was cancelled there."""
    gate = Path(os.environ["TOY_EVENTS"]).with_name(word.removeprefix(GATE))
    note(event="waiting", gate=gate.name)
    while not gate.exists():
        if sender.is_cancelled():
            return False
        time.sleep(POLL_S)
    return True


class TritonPythonModel:
    def initialize(self, args):
        self.pool = ThreadPoolExecutor(max_workers=8)
        names = ("TRITONE_MODEL", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {name: os.environ.get(name) for name in names}
        note(event="up", prefix=sys.prefix, environment=environment)

    def execute(self, requests):
        for request in requests:
            inputs = received(request)
            asked = list(request.requested_output_names())
            note(event="request", inputs=inputs, asked=asked)
            self.pool.submit(self.speak, request.get_response_sender(), inputs, asked)

    def speak(self, sender, inputs, asked):
        """Exactly one message carries FINAL; an error carries it itself."""
        error = self.send_words(sender, inputs, asked)
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        if error is None:
            sender.send(flags=final)
        else:
            sender.send(pb_utils.InferenceResponse(error=error), flags=final)

    def send_words(self, sender, inputs, asked):
        words = inputs["target_text"][2][0].split()
        if inputs.get("streaming", [None, None, [True]])[2] == [False]:
            sender.send(self.response(len(words), asked, len(words)))
            return None
        sent = 0
        for word in words:
            if sender.is_cancelled() or (word.startswith(GATE) and not opened(word, sender)):
                note(event="cancelled", after=sent)
                return None
            if word == "fail":
                problem = "target_text: it says fail"
                return pb_utils.TritonError(problem, pb_utils.TritonError.INVALID_ARG)
            if not word.startswith(GATE):
                sent += 1
                sender.send(self.response(1, asked, sent))
        note(event="finished", words=sent)
        return None

    def response(self, packets, asked, count):
        time_axis = np.arange(packets * PACKET, dtype=np.float32) / RATE
        wave = 0.25 * np.sin(2 * np.pi * 440 * time_axis)
        outputs = [pb_utils.Tensor("waveform", wave[None].astype(np.float32))]
        if "timing" in asked:
            text = json.dumps({"packets": count}).encode()
            outputs.append(pb_utils.Tensor("timing", np.array([[text]], dtype=np.object_)))
        return pb_utils.InferenceResponse(output_tensors=outputs)

    def finalize(self):
        self.pool.shutdown()
