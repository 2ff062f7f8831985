"""Forms with a file (multipart/form-data), read as they arrive and bounded in every direction."""

from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tritone.gateway.errors import ApiError

_SHOWN = 60  # characters of a name in a message


@dataclass(frozen=True)
class FormLimits:
    """most_file_bytes: of the file. most_text_bytes: of each text. most_header_bytes: of each
    part's head. A form has at most one part for each of its fields."""

    most_file_bytes: int
    most_text_bytes: int = 8 << 10
    most_header_bytes: int = 4 << 10


@dataclass(frozen=True)
class Form:
    """texts: field -> what was written. file: None where there was none."""

    texts: Mapping[str, str]
    file: bytes | None


class FormReader:
    """Takes a body piece by piece. Its methods raise ApiError naming the field and the limit."""

    def __init__(
        self, content_type: str, fields: Mapping[str, str], file: str, limits: FormLimits
    ) -> None:
        """fields: what a part may be called -> the field that it is. file: the field of them that
        is a file; the others are texts."""
        self._fields, self._file, self._limits = fields, file, limits
        self._parts: dict[str, bytearray] = {}
        self._head: dict[str, bytes] = {}  # of the present part
        self._name, self._value, self._head_bytes = bytearray(), bytearray(), 0
        self._field, self._ended = "", False
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _invalid(f"the body is {content_type[:_SHOWN]!r}; send multipart/form-data")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begins,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._names_its_field,
                    "on_part_data": self._content,
                    "on_end": self._ends,
                },
            )
        except FormParserError as error:
            raise _invalid(f"the form cannot be read: {error}") from error

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _invalid(f"the form cannot be read: {error}") from error

    def end(self) -> Form:
        """What the form was, once all of the body has been fed."""
        if not self._ended:
            raise _invalid("the form breaks off: its last boundary is missing")
        parts = dict(self._parts)
        file = parts.pop(self._file, None)
        texts = {field: _text(field, bytes(data)) for field, data in parts.items()}
        return Form(texts, None if file is None else bytes(file))

    def _begins(self) -> None:
        self._head, self._head_bytes, self._field = {}, 0, ""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._of_head(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._of_head(data[start:end])

    def _of_head(self, data: bytes) -> bytes:
        self._head_bytes += len(data)
        if self._head_bytes > (most := self._limits.most_header_bytes):
            raise _invalid(f"the head of a part has more than {most} bytes")
        return data

    def _header_ends(self) -> None:
        self._head[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _names_its_field(self) -> None:
        _, options = parse_options_header(self._head.get("content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="backslashreplace")
        field = self._fields.get(name, "")
        if not field:
            there = ", ".join(dict.fromkeys(self._fields.values()))
            raise _invalid(f"{name[:_SHOWN]!r} is no field of this form; it has {there}")
        if field in self._parts:
            raise _invalid(f"{field}: is there twice, as {name}", field)
        if field != self._file and b"filename" in options:
            raise _invalid(f"{field}: is a file; send text", field)
        self._field = field
        self._parts[field] = bytearray()

    def _content(self, data: bytes, start: int, end: int) -> None:
        part, limits = self._parts[self._field], self._limits
        part += memoryview(data)[start:end]
        if self._field != self._file:
            if len(part) > limits.most_text_bytes:
                problem = f"has more than {limits.most_text_bytes} bytes"
                raise _invalid(f"{self._field}: {problem}", self._field)
        elif len(part) > limits.most_file_bytes:
            raise ApiError(
                413,
                "request_too_large",
                f"{self._field}: has more than {limits.most_file_bytes} bytes",
                param=self._field,
            )

    def _ends(self) -> None:
        self._ended = True


def _text(field: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"{field}: is no UTF-8 at byte {error.start}", field) from error


def _invalid(problem: str, field: str | None = None) -> ApiError:
    return ApiError(400, "invalid_value", problem, param=field)
