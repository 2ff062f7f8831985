"""The file of a SentencePiece model: a protocol buffer, of which only a few fields are needed.

Field numbers are those of `sentencepiece_model.proto`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tritone.errors import ModelDirectoryError

UNIGRAM = 1
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3  # of a piece
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK = 3, 24, 35  # of the trainer
_CHARACTERS, _PREFIX, _SINGLE_BLANKS, _ESCAPED = 2, 3, 4, 5  # of the normaliser
_LONGEST_VARINT = 70  # bits, with what the last byte may have too many

Field = tuple[int, int | bytes]


class Kind(IntEnum):
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    text: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class SentencePieceModel:
    """pieces: by id. characters: a table that the library knows how to read, of what each character
    is replaced by."""

    pieces: tuple[Piece, ...]
    characters: bytes


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Raises ModelDirectoryError for a file that is missing, damaged, or of another kind than the
    release has: unigram, a blank before the text, blanks single and escaped, no bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelDirectoryError(f"{path}: cannot be read: {error}") from error
    try:
        fields = list(_fields(data))
        pieces = tuple(_piece(_bytes(value)) for number, value in fields if number == _PIECES)
        parts = dict(fields)
        trainer, normalizer = (
            dict(_fields(_bytes(parts.get(number, b"")))) for number in (_TRAINER, _NORMALIZER)
        )
        characters = _bytes(normalizer.get(_CHARACTERS, b""))
    except (ValueError, LookupError, struct.error) as error:
        raise ModelDirectoryError(f"{path}: is no SentencePiece model: {error}") from error
    wanted = {
        "model_type": (trainer.get(_MODEL_TYPE, UNIGRAM), UNIGRAM),
        "treat_whitespace_as_suffix": (trainer.get(_SUFFIX, 0), 0),
        "byte_fallback": (trainer.get(_BYTE_FALLBACK, 0), 0),
        "add_dummy_prefix": (normalizer.get(_PREFIX, 1), 1),
        "remove_extra_whitespaces": (normalizer.get(_SINGLE_BLANKS, 1), 1),
        "escape_whitespaces": (normalizer.get(_ESCAPED, 1), 1),
        "unknown pieces": (sum(piece.kind is Kind.UNKNOWN for piece in pieces), 1),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ModelDirectoryError(f"{path}: {name} is {found!r}, only {expected} is supported")
    return SentencePieceModel(pieces, characters)


def _piece(message: bytes) -> Piece:
    fields = dict(_fields(message))
    (score,) = struct.unpack("<f", _bytes(fields.get(_SCORE, bytes(4))))
    kind = Kind(fields.get(_KIND, Kind.NORMAL))  # type: ignore[arg-type]
    return Piece(_bytes(fields[_TEXT]).decode(), score, kind)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"a field has the number {value} where text was expected")
    return value


def _fields(data: bytes) -> Iterator[Field]:
    """Number and value of each field of a message: an integer, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), at)
        if size < 0 or at + size > len(data):
            raise ValueError(f"field {number} of wire type {wire} does not end in the file")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while shift < _LONGEST_VARINT:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number before byte {at} has no end")
