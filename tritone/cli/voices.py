"""tritone voices: the registered voices of a model directory."""

from collections.abc import Sequence

from tritone.cli.command import refused, run
from tritone.cli.options import Model
from tritone.errors import TritoneError
from tritone.families import read_config
from tritone.frontend.voices import VoiceStore
from tritone.resources import embedded_voice


def voices(model: Model = None) -> int:
    """List the registered voices of a model directory: id, prompt, transcript.

    * marks the one that speaks where a request names none.
    """
    folder = model or embedded_voice()
    try:
        config, store = read_config(folder), VoiceStore(folder)
        for name in store.names():
            voice = store.load(name)
            mark = "*" if name == config.default_voice else " "
            seconds = len(voice.prompt_mel) * config.vocoder.samples_per_frame / config.sample_rate
            print(f"{mark} {name:<20} {seconds:>5.1f} s  {voice.transcript}".rstrip())
    except TritoneError as error:
        return refused(error)
    return 0


def main(arguments: Sequence[str], prog: str = "tritone voices") -> int:
    return run(voices, arguments, prog)
