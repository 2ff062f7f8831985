"""tritone voices: the registered voices of a model directory."""

from tritone.cli.options import Model
from tritone.families import open_model
from tritone.frontend.voices import VoiceStore
from tritone.resources import embedded_voice


def voices(model: Model = None) -> int:
    """List the registered voices of a model directory: id, size, transcript.

    * marks the one that speaks where a request names none.
    """
    folder = model or embedded_voice()
    opened, store = open_model(folder), VoiceStore(folder)
    for name in store.names():
        voice = store.load(name, opened.family.voice)
        mark = "*" if name == opened.config.default_voice else " "
        size = sum(array.nbytes for array in voice.to_arrays().values()) / 1000
        print(f"{mark} {name:<20} {size:>6.0f} kB  {voice.transcript}".rstrip())
    return 0
