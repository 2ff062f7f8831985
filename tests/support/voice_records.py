"""Voices for the registry, of random numbers."""

from typing import Any

from frontend_fixtures import voice

from tritone.frontend.registry.record import VoiceRecord
from tritone.frontend.registry.store import Arrays
from tritone.voice import digest

ENCODERS = "e" * 64


def entry(voice_id: str, seed: int = 0, **changes: Any) -> tuple[VoiceRecord, Arrays]:
    arrays = voice(5, seed=seed).to_arrays()
    values = {
        "name": voice_id.upper(),
        "transcript": "some words",
        "family": "cosyvoice2",
        "encoders": ENCODERS,
        "arrays": digest(arrays).hex(),
        "origin": "recording",
        "consent": "hers, by letter",
        "created": "2025-01-01T00:00:00+00:00",
    }
    return VoiceRecord(id=voice_id, **{**values, **changes}), arrays
