"""Streaming client of a Tritone server: a library, and the commands tritone-say and tritone-bench.

It needs numpy, soundfile and tritonclient[grpc], and imports nothing of the server's package.
"""

from tritone_client.aio import AsyncSpeechClient
from tritone_client.aio_live import AsyncLiveSpeech
from tritone_client.emotion import Emotion
from tritone_client.live import LiveSpeech
from tritone_client.metrics import StreamMeter, StreamMetrics
from tritone_client.request import Utterance, pad_reference
from tritone_client.response import Cancellation, Packet, SpeechError
from tritone_client.sync import SpeechClient
from tritone_client.text import FLUSH
from tritone_client.tls import Tls

__all__ = [
    "FLUSH",
    "AsyncLiveSpeech",
    "AsyncSpeechClient",
    "Cancellation",
    "Emotion",
    "LiveSpeech",
    "Packet",
    "SpeechClient",
    "SpeechError",
    "StreamMeter",
    "StreamMetrics",
    "Tls",
    "Utterance",
    "pad_reference",
]
