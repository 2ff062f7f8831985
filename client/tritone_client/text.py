"""A text that is spoken, also while it is being written; no I/O, so that both clients share it."""

import secrets
from dataclasses import replace
from enum import Enum, auto

from tritonclient.grpc import service_pb2

from tritone_client.request import Utterance, infer_request
from tritone_client.response import Cancellation, Packet, ResponseReader


class Flush(Enum):
    """Among pieces of text: speak what there is, do not wait for the end of the sentence."""

    FLUSH = auto()


FLUSH = Flush.FLUSH

NO_TEXT = Utterance("")
_PIECE, _CANCEL = "piece of ", "cancel "  # ids of requests, before that of the text


class TextRequests:
    """The requests of one text, all for one gRPC stream, and what their responses mean.

    cancellation: the answer to a cancel, once it is there.
    """

    def __init__(
        self,
        utterance: Utterance,
        model: str,
        request_id: str = "",
        *,
        timing: bool = False,
        whole: bool = False,
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> None:
        """utterance: how to speak; its text is the first piece, or the only one of a whole text,
        to which only a cancel can follow. flush_after: seconds without a piece, after which what
        there is is spoken. text_mode: sentences, interleaved or auto; None is the server's
        default."""
        self._model, self._id = model, secrets.token_hex(16)
        # Triton may log the ids of requests, and that of the text is a secret.
        self._mark = secrets.token_hex(8)
        self._reader = ResponseReader()
        self.cancellation: Cancellation | None = None
        self._answered = False
        first = infer_request(utterance, model, request_id, timing)
        first.parameters["text_start"].bool_param = True
        first.parameters["text_stream"].string_param = self._id
        if whole:
            first.parameters["text_end"].bool_param = True
        if flush_after is not None:
            first.parameters["text_flush_after_ms"].int64_param = round(1000 * flush_after)
        if text_mode is not None:
            first.parameters["text_mode"].string_param = text_mode
        self.first = first

    def piece(self, piece: str | Flush) -> service_pb2.ModelInferRequest:
        if isinstance(piece, Flush):
            return self._more(_PIECE, "", "text_flush")
        return self._more(_PIECE, piece)

    def end(self) -> service_pb2.ModelInferRequest:
        return self._more(_PIECE, "", "text_end")

    def cancel(self) -> service_pb2.ModelInferRequest:
        return self._more(_CANCEL, "", "text_cancel")

    def _more(self, kind: str, text: str, order: str = "") -> service_pb2.ModelInferRequest:
        request = infer_request(replace(NO_TEXT, text=text), self._model, kind + self._mark)
        request.parameters["text_stream"].string_param = self._id
        if order:
            request.parameters[order].bool_param = True
        if kind == _CANCEL:
            request.outputs.add(name="timing")
        return request

    def read(self, message: service_pb2.ModelStreamInferResponse) -> Packet | None:
        """The packet in this message, if it has one."""
        answered = message.infer_response.id
        if answered == _CANCEL + self._mark:
            self._answered = True
            packet = ResponseReader().feed(message)
            if packet and packet.timing:
                self.cancellation = Cancellation.of(packet.timing)
            return None
        if answered == _PIECE + self._mark:
            return None  # that the text is no longer taken is said by its own end
        return None if self._reader.over else self._reader.feed(message)

    def done(self, cancelled: bool) -> bool:
        """Whether nothing more is to come, nor to be sent. cancelled: whether an answer is due."""
        return self._reader.over and (self._answered or not cancelled)

    def finish(self) -> None:
        """The stream has ended; raises SpeechError if that was not the good end."""
        if self.cancellation is None:
            self._reader.end()
