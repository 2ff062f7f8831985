"""A stand-in for the public model: one tone a word; clients and launcher need no checkpoint.

Words are spoken one packet each (PACKET samples). Two are not spoken: `fail` ends the utterance
with INVALID_ARG, and `wait:NAME` is a gate at which it waits until the file NAME is there, beside
the one named by TOY_EVENTS. To that one go, as JSON lines, what the model received, and when it
waits, is cancelled, or has finished. Asked to end, or its
caller gone, it is cancelled.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

RATE = 24000
PACKET = 2400
GATE = "wait:"
POLL_S = 0.005
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
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


class Speech:
    """One request that is spoken. sent: samples."""

    def __init__(self, sender):
        self.sender, self.sent, self.asked_to_end = sender, 0, False
        self.over = threading.Event()

    def cancelled(self):
        return self.asked_to_end or self.sender.is_cancelled()

    def end(self, sender):
        """Answer the request to end it, when it has."""
        self.asked_to_end = True
        self.over.wait()
        record = {"sent": {"samples": self.sent, "text": [0, 0]}}
        text = pb_utils.Tensor("timing", np.array([[json.dumps(record).encode()]], np.object_))
        sender.send(pb_utils.InferenceResponse(output_tensors=[text]), flags=FINAL)


def opened(word, speech):
    """Wait at this gate; false when the request was cancelled there."""
    gate = Path(os.environ["TOY_EVENTS"]).with_name(word.removeprefix(GATE))
    note(event="waiting", gate=gate.name)
    while not gate.exists():
        if speech.cancelled():
            return False
        time.sleep(POLL_S)
    return True


class TritonPythonModel:
    def initialize(self, args):
        self.pool = ThreadPoolExecutor(max_workers=8)
        self.speeches = {}
        names = ("TRITONE_MODEL", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {name: os.environ.get(name) for name in names}
        note(event="up", prefix=sys.prefix, environment=environment)

    def execute(self, requests):
        for request in requests:
            sender, order = request.get_response_sender(), json.loads(request.parameters() or "{}")
            name = order.get("text_stream")
            if order.get("text_cancel"):
                self.cancel(name, sender)
                continue
            inputs = received(request)
            asked = list(request.requested_output_names())
            note(event="request", inputs=inputs, asked=asked)
            speech = Speech(sender)
            if name:
                self.speeches[name] = speech
            self.pool.submit(self.speak, speech, name, inputs, asked)

    def cancel(self, name, sender):
        speech = self.speeches.get(name)
        if speech is None:
            sender.send(flags=FINAL)
        else:
            threading.Thread(target=speech.end, args=[sender], daemon=True).start()

    def speak(self, speech, name, inputs, asked):
        """Exactly one message carries FINAL; an error carries it itself."""
        error = self.send_words(speech, inputs, asked)
        self.speeches.pop(name, None)
        if error is None:
            speech.sender.send(flags=FINAL)
        else:
            speech.sender.send(pb_utils.InferenceResponse(error=error), flags=FINAL)
        speech.over.set()

    def send_words(self, speech, inputs, asked):
        sender = speech.sender
        words = inputs["target_text"][2][0].split()
        if inputs.get("streaming", [None, None, [True]])[2] == [False]:
            sender.send(self.response(len(words), asked, len(words)))
            return None
        sent = 0
        for word in words:
            if speech.cancelled() or (word.startswith(GATE) and not opened(word, speech)):
                note(event="cancelled", after=sent, asked=speech.asked_to_end)
                return pb_utils.TritonError("CANCELLED: it was", pb_utils.TritonError.CANCELLED)
            if word == "fail":
                problem = "target_text: it says fail"
                return pb_utils.TritonError(problem, pb_utils.TritonError.INVALID_ARG)
            if not word.startswith(GATE):
                sent += 1
                speech.sent = sent * PACKET
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
