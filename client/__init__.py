"""Streaming client for Tritone's public Triton model, as a library and as `python -m client.say`.

It needs numpy, soundfile and tritonclient[grpc], and imports nothing of the server's package.
"""

from client.aio import AsyncSpeechClient
from client.errors import SpeechError
from client.metrics import StreamMeter, StreamMetrics
from client.request import Utterance, pad_reference
from client.response import SAMPLE_RATE, Packet
from client.sync import SpeechClient

__all__ = [
    "SAMPLE_RATE",
    "AsyncSpeechClient",
    "Packet",
    "SpeechClient",
    "SpeechError",
    "StreamMeter",
    "StreamMetrics",
    "Utterance",
    "pad_reference",
]
