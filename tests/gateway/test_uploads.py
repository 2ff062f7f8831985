"""Forms with a file, in pieces of any size, and what is refused of them."""

import pytest

from tritone.gateway.errors import ApiError
from tritone.gateway.uploads import Form, FormLimits, FormReader

FIELDS = {"name": "name", "sound": "sound", "file": "sound"}
LIMITS = FormLimits(most_file_bytes=1000, most_text_bytes=20, most_header_bytes=200)
KIND = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + (
        content + b"\r\n"
    )


def read(body: bytes, step: int = 64, kind: str = KIND) -> Form:
    reader = FormReader(kind, FIELDS, "sound", LIMITS)
    for at in range(0, len(body), step):
        reader.feed(body[at : at + step])
    return reader.end()


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_what_is_sent_arrives(step: int) -> None:
    sound = bytes(range(256)) + b"\r\n--c is no boundary here\r\n-- \r\n"
    body = part("file", sound, '; filename="a.wav"') + part("name", "Zoë".encode()) + b"--b--\r\n"
    assert read(body, step) == Form({"name": "Zoë"}, sound)


def test_a_file_may_come_without_a_name_or_not_at_all() -> None:
    assert read(part("sound", b"x") + b"--b--").file == b"x"
    assert read(part("name", b"x") + b"--b--") == Form({"name": "x"}, None)


@pytest.mark.parametrize(
    ("body", "said", "status", "param"),
    [
        (part("sound", b"x" * 1001) + b"--b--", "has more than 1000 bytes", 413, "sound"),
        (part("name", b"x" * 21) + b"--b--", "name: has more than 20 bytes", 400, "name"),
        (
            part("nmae", b"x") + b"--b--",
            "'nmae' is no field of this form; it has name, so",
            400,
            "",
        ),
        (part("name", b"x") * 2 + b"--b--", "name: is there twice", 400, "name"),
        (
            part("sound", b"x") + part("file", b"x") + b"--b--",
            "sound: is there twice, as file",
            400,
            "sound",
        ),
        (part("name", b"x", '; filename="a"') + b"--b--", "name: is a file; send te", 400, "name"),
        (part("name", b"\xff") + b"--b--", "name: is no UTF-8 at byte 0", 400, "name"),
        (part("name", b"x"), "its last boundary is missing", 400, ""),
        (b"", "its last boundary is missing", 400, ""),
        (b"{}", "the form cannot be read", 400, ""),
        (b"--b\r\nX: " + b"y" * 300 + b"\r\n\r\n", "has more than 200 bytes", 400, ""),
        (b"--b\r\nX: y\r\n\r\nz\r\n--b--", "'' is no field of this form", 400, ""),
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
def test_what_is_refused(body: bytes, said: str, status: int, param: str, step: int) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        read(body, step)
    assert refused.value.status == status
    assert refused.value.detail.param == (param or None)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", KIND + "x" * 300])
def test_another_kind_of_body(kind: str) -> None:
    with pytest.raises(ApiError, match=r"send multipart/form-data|cannot be read"):
        read(b"", kind=kind)


def test_what_is_too_much_is_not_kept() -> None:
    reader = FormReader(KIND, FIELDS, "sound", LIMITS)
    reader.feed(part("sound", b"x" * 900)[:-2])
    with pytest.raises(ApiError):
        reader.feed(b"x" * 101)
