"""What OpenAI's Realtime API tells, in the words of its beta or of what came after it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tritone.gateway.errors import ApiError
from tritone.gateway.formats import OPENAI_PCM_RATE
from tritone.gateway.spoken import Progress

Event = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """beta: of the clients that say so with `OpenAI-Beta: realtime=v1`."""

    beta: bool

    @property
    def audio(self) -> str:
        """Before the names of the events that have sound."""
        return "response.audio" if self.beta else "response.output_audio"

    def session(self, name: str, model: str, chosen: dict[str, Any]) -> Event:
        voice, speed = chosen.get("voice"), chosen.get("speed", 1.0)
        said = {"id": name, "object": "realtime.session", "model": model}
        said["instructions"] = chosen.get("instructions", "")
        if self.beta:
            output = {"voice": voice, "speed": speed, "output_audio_format": "pcm16"}
            return {**said, **output, "modalities": ["audio", "text"], "turn_detection": None}
        form = {"type": "audio/pcm", "rate": OPENAI_PCM_RATE}
        audio = {"output": {"format": form, "voice": voice, "speed": speed}}
        return {**said, "type": "realtime", "output_modalities": ["audio"], "audio": audio}

    def item_is_there(self, item: Event, before: str | None) -> Iterator[Event]:
        more = {"previous_item_id": before, "item": item}
        if self.beta:
            yield {"type": "conversation.item.created", **more}
        else:
            yield {"type": "conversation.item.added", **more}
            if item["status"] != "in_progress":
                yield self.item_is_done(item, before)

    def item_is_done(self, item: Event, before: str | None) -> Event:
        return {"type": "conversation.item.done", "previous_item_id": before, "item": item}


@dataclass
class Answer:
    """One response, and its only item, from created to done. before: the item before it."""

    dialect: Dialect
    name: str
    item: str
    before: str | None
    metadata: dict[str, str] | None = None
    transcript: str = ""
    _place: Event = field(init=False)

    def __post_init__(self) -> None:
        self._place = {"response_id": self.name, "item_id": self.item}
        self._place |= {"output_index": 0, "content_index": 0}

    def begins(self) -> Iterator[Event]:
        yield {"type": "response.created", "response": self._response("in_progress")}
        yield self._output("added", "in_progress")
        yield from self.dialect.item_is_there(self._item("in_progress"), self.before)
        part = {"type": "audio", "transcript": ""}
        yield {"type": "response.content_part.added", **self._place, "part": part}

    def sounds(self, audio: str) -> Event:
        """audio: in base64."""
        return {"type": f"{self.dialect.audio}.delta", **self._place, "delta": audio}

    def says(self, text: str) -> Event:
        self.transcript += text
        kind = f"{self.dialect.audio}_transcript.delta"
        return {"type": kind, **self._place, "delta": text}

    def ends(self, status: str, details: Event | None, progress: Progress) -> Iterator[Event]:
        """status: completed, cancelled or failed."""
        whole = "completed" if status == "completed" else "incomplete"
        audio, said = self.dialect.audio, self.transcript
        yield {"type": f"{audio}.done", **self._place}
        yield {"type": f"{audio}_transcript.done", **self._place, "transcript": said}
        part = {"type": "audio", "transcript": said}
        yield {"type": "response.content_part.done", **self._place, "part": part}
        yield self._output("done", whole)
        if not self.dialect.beta:
            yield self.dialect.item_is_done(self._item(whole), self.before)
        response = self._response(status) | {"usage": _usage(progress), "status_details": details}
        yield {"type": "response.done", "response": response | {"output": [self._item(whole)]}}

    def _output(self, what: str, status: str) -> Event:
        more = {"response_id": self.name, "output_index": 0, "item": self._item(status)}
        return {"type": f"response.output_item.{what}", **more}

    def _item(self, status: str) -> Event:
        content: list[Event] = []
        if status != "in_progress":
            kind = "audio" if self.dialect.beta else "output_audio"
            content = [{"type": kind, "transcript": self.transcript}]
        said = {"id": self.item, "object": "realtime.item", "type": "message"}
        return {**said, "status": status, "role": "assistant", "content": content}

    def _response(self, status: str) -> Event:
        said = {"id": self.name, "object": "realtime.response", "status": status}
        return {**said, "status_details": None, "output": [], "metadata": self.metadata}


def failure(error: ApiError) -> Event:
    """Why a response has failed."""
    return {"type": "failed", "error": {"type": error.detail.type, "code": error.code}}


def _usage(progress: Progress) -> Event:
    usage: Event = dict(progress.usage)
    usage["input_token_details"] = {
        "text_tokens": usage["input_tokens"],
        "audio_tokens": 0,
        "cached_tokens": 0,
    }
    usage["output_token_details"] = {"text_tokens": 0, "audio_tokens": usage["output_tokens"]}
    return usage
