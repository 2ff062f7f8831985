"""A voice pack: a voice in one file, for another machine with the same encoders.

It is a safetensors file of the voice's arrays; its metadata has the record as JSON (`voice`) and
the SHA-256 of that text (`digest`). The record has the digest of the arrays, so everything in a
pack is checked. That finds damage and tampering that did not renew the digests; who made a pack, a
digest cannot say: compare the file's own SHA-256 with what its maker tells you.
"""

import hashlib
import json

from safetensors.numpy import save

from tritone.errors import InvalidRequest
from tritone.frontend.registry.record import VoiceRecord
from tritone.frontend.registry.store import MOST_ARRAY_BYTES, MOST_RECORD_BYTES, Arrays
from tritone.voice import digest, unpack

FIELD = "pack"
SUFFIX = ".voice"
MOST_PACK_BYTES = MOST_ARRAY_BYTES + 2 * MOST_RECORD_BYTES
_LENGTH = 8  # bytes in front of a safetensors header


def pack_voice(record: VoiceRecord, arrays: Arrays) -> bytes:
    text = record.to_text()
    metadata = {"voice": text, "digest": _sha256(text)}
    packed: bytes = save(arrays, metadata)
    return packed


def open_pack(data: bytes) -> tuple[VoiceRecord, Arrays]:
    """Raises InvalidRequest for what is no pack, or is not as it was made."""
    if len(data) > MOST_PACK_BYTES:
        raise InvalidRequest(
            FIELD, f"has {len(data)} bytes or more; the limit is {MOST_PACK_BYTES}"
        )
    try:
        header = json.loads(data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "little")])
        metadata = header["__metadata__"]
        text, said = str(metadata["voice"]), str(metadata["digest"])
    except (LookupError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidRequest(
            FIELD, "is no voice pack, as `tritone voices export` writes"
        ) from error
    if _sha256(text) != said:
        raise InvalidRequest(FIELD, f"is damaged: its record is not that of the digest {said[:16]}")
    try:
        record, arrays = VoiceRecord.of_text(text), unpack(data)
    except Exception as error:  # ValueError, or of the library that reads arrays
        raise InvalidRequest(FIELD, f"is damaged: {error}") from error
    if digest(arrays).hex() != record.arrays:
        raise InvalidRequest(
            FIELD, f"is damaged: its arrays are not those of the digest {record.arrays[:16]}"
        )
    return record, arrays


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
