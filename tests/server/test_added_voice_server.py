"""A voice that is added, replaced and removed while the real server runs."""

import numpy as np
import pytest
from paths import EMBEDDED
from recordings import SENTENCE, read
from serving import SHORT, is_speech
from sound_files import SPOKEN, wav_file

from tritone.arrays import Float32
from tritone.families import open_model
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.audio.decode import decode
from tritone.frontend.registry.record import Details
from tritone.frontend.registry.store import VoiceRegistry
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server


def said(client: SpeechClient, **how: object) -> Float32:
    """In one piece, so that it does not depend on what else the machine does."""
    utterance = Utterance(SHORT, seed=7, streaming=False, **how)  # type: ignore[arg-type]
    return np.concatenate(list(client.stream(utterance)))


def test_a_voice_comes_and_goes_without_a_restart(
    server: TritonServer, client: SpeechClient
) -> None:
    assert server.settings.voices_dir is not None
    desk = VoiceDesk(open_model(EMBEDDED), VoiceRegistry(server.settings.voices_dir))
    with pytest.raises(SpeechError, match="voice: 'ann' is not registered"):
        said(client, voice="ann")

    data = wav_file(read("joe", SENTENCE))
    desk.add(data, Details("ann", transcript=SENTENCE, consent="given"))
    sound = decode(data)
    ours = said(client, voice="ann")
    expected = said(
        client, reference_wav=sound.wav, reference_rate=sound.rate, reference_text=SENTENCE
    )
    assert is_speech(ours)
    np.testing.assert_array_equal(ours, expected)

    other = Details("ann", consent="given")
    desk.add(SPOKEN["heart"].read_bytes(), other, replace=True)
    replaced = said(client, voice="ann")
    assert len(replaced) != len(ours) or not np.array_equal(replaced, ours)

    desk.add(data, Details("bad", consent="given"))
    next(server.settings.voices_dir.glob("bad.*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(SpeechError, match=r"bad.*is damaged"):
        said(client, voice="bad")
    np.testing.assert_array_equal(said(client, voice="ann"), replaced)

    desk.remove("bad")
    desk.remove("ann")
    with pytest.raises(SpeechError, match="voice: 'ann' is not registered") as refused:
        said(client, voice="ann")
    assert refused.value.status == "INVALID_ARGUMENT"
    assert is_speech(said(client, voice="joe"))
