"""tritone voices: the voices of a model directory, and those that were added to the registry."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tritone.cli import command
from tritone.cli.options import Model, Voices
from tritone.errors import InvalidRequest
from tritone.families import open_model
from tritone.families.voice_desk import VoiceDesk
from tritone.frontend.audio.decode import read_file
from tritone.frontend.registry import pack
from tritone.frontend.registry.record import Details, VoiceRecord
from tritone.frontend.registry.store import VoiceRegistry
from tritone.frontend.voices import VoiceStore
from tritone.resources import embedded_voice, voice_registry_dir
from tritone.variables import VOICES_VARIABLE

Id = Annotated[str, typer.Argument(metavar="ID", help="what requests call the voice")]
Replace = Annotated[bool, typer.Option("--replace", help="a voice that has the id already")]
_GREETING = "Hello. This is how I sound, and this is a second sentence."


@dataclass(frozen=True)
class Terms:
    """What is said of a voice by who adds it."""

    consent: Annotated[
        str, typer.Option(help="who agreed to this use of the voice, when or where")
    ] = ""
    language: Annotated[str, typer.Option(help="as en or zh-CN")] = ""
    licence: Annotated[str, typer.Option(help="terms of its use")] = ""

    def of(self, voice_id: str, name: str = "", transcript: str = "") -> Details:
        return Details(voice_id, name, transcript, self.language, self.consent, self.licence)


@dataclass(frozen=True)
class Places:
    """Where voices are."""

    model: Model = None
    voices: Voices = None

    @property
    def desk(self) -> VoiceDesk:
        registry = VoiceRegistry(self.voices) if self.voices else None
        return VoiceDesk(open_model(self.model or embedded_voice()), registry)


def list_(
    places: Places,
    as_json: Annotated[bool, typer.Option("--json", help="the added voices as JSON")] = False,
) -> int:
    """List voices: id, size or seconds, transcript.

    * is the voice that speaks where a request names none, + one that was added,
    - an added one that this model directory cannot speak with.

    Subcommands: list, add, remove, import, export, listen; each has --help.

    Exit status: 0, or 1 if something in the registry is no usable voice.
    """
    listing = places.desk.listing()
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in listing.added], indent=1))
    else:
        _print_own(places.model or embedded_voice())
        for record in listing.added:
            print(f"+ {_line(record)}")
    for record, why in listing.misfits:
        print(f"- {record.id} {why}", file=sys.stderr)
    for entry in listing.skipped:
        print(f"skipped: {entry.name}: {entry.why}", file=sys.stderr)
    return 1 if listing.skipped else 0


def add(
    voice_id: Id,
    recording: Annotated[Path, typer.Argument(help="any sound file, 1 to 30 s")],
    terms: Terms,
    places: Places,
    transcript: Annotated[str, typer.Option(help="what is said in it, word for word")] = "",
    name: Annotated[str, typer.Option(help="for people (the id)")] = "",
    replace: Replace = False,
) -> int:
    """Add a voice from a recording of one person; running servers have it at once.

    Exit status: 0 added, 2 refused: all that is wrong with the recording is said.
    """
    details = terms.of(voice_id, name, transcript)
    added = places.desk.add(read_file(recording), details, replace=replace)
    print(f"added {_line(added.record)}")
    for note in added.record.notes:
        print(f"note: {note}")
    print(f"{added.seconds:.2f} s, of these {added.encoder_seconds:.2f} s in the encoders")
    return 0


def remove(voice_id: Id, voices: Voices = None) -> int:
    """Remove an added voice; no request after this speaks with it.

    Exit status: 0 removed, 2 there is none.
    """
    VoiceRegistry(voices or voice_registry_dir()).remove(voice_id)
    print(f"removed {voice_id}")
    return 0


def import_(
    file: Annotated[Path, typer.Argument(help="a voice pack, or upstream's file of voices (.pt)")],
    terms: Terms,
    places: Places,
    new_id: Annotated[str, typer.Option("--id", help="of a pack's voice (its own)")] = "",
    sha256: Annotated[str, typer.Option(help="what its maker says is the pack's SHA-256")] = "",
    replace: Replace = False,
) -> int:
    """Add the voice of a pack, or all voices of an upstream file.

    A pack keeps what its maker said of consent, licence and language; these
    options are for upstream files, which say nothing.

    Exit status: 0 added, 2 refused.
    """
    desk = places.desk
    if file.suffix == ".pt":
        if new_id or sha256:
            return command.refused("--id and --sha256 are for voice packs")
        records = list(desk.import_file(file, terms.of("unnamed"), replace=replace))
    else:
        data = _pack_of(file)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256.lower():
            return command.refused(f"{file} has another SHA-256 than --sha256 {sha256}")
        records = [desk.import_pack(data, new_id=new_id, replace=replace)]
    for record in records:
        print(f"added {_line(record)}")
    return 0


def export(
    voice_id: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="(ID.voice)")
    ] = None,
    voices: Voices = None,
) -> int:
    """Write an added voice as a pack: one file, for a machine with the same encoders.

    Exit status: 0 written, 2 there is none.
    """
    path = output or Path(f"{voice_id}{pack.SUFFIX}")
    data = pack.pack_voice(*VoiceRegistry(voices or voice_registry_dir()).open(voice_id))
    try:
        path.write_bytes(data)
    except OSError as error:
        return command.refused(f"{path} cannot be written: {error.strerror}")
    print(f"{path}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
    return 0


def listen(
    voice_id: Id,
    places: Places,
    text: Annotated[str, typer.Argument(help="what it says")] = _GREETING,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="sound file (ID.wav)")
    ] = "",
    url: Annotated[
        str, typer.Option(help="gRPC address of a running server; without it none is needed")
    ] = "",
    seed: int = 0,
) -> int:
    """Have a voice say a sentence, into a sound file.

    Exit status: as `tritone say`; without --url 0, or 2 if refused.
    """
    path = output or f"{voice_id}.wav"
    if url:
        from tritone_client import say

        words = [text, "--voice", voice_id, "--seed", str(seed), "-o", path, "--url", url]
        return say.main(words, "tritone voices listen")
    _speak_here(places, voice_id, text, seed, path)
    return 0


_SUBCOMMANDS: dict[str, Callable[..., int]] = {
    "list": list_,
    "add": add,
    "remove": remove,
    "import": import_,
    "export": export,
    "listen": listen,
}


def main(arguments: Sequence[str], prog: str) -> int:
    """A subcommand; without one, list."""
    if not arguments or arguments[0].startswith("-"):
        return command.run(list_, arguments, prog)
    name, *rest = arguments
    if name not in _SUBCOMMANDS:
        return command.refused(f"{prog} has no {name!r}; it has {', '.join(_SUBCOMMANDS)}")
    return command.run(_SUBCOMMANDS[name], rest, f"{prog} {name}")


def _speak_here(places: Places, voice_id: str, text: str, seed: int, path: str) -> None:
    """Into a sound file, without a server."""
    from tritone.llm.contract import SamplingParams
    from tritone.local.tts import load
    from tritone_client.output import open_writer

    if places.voices is not None:
        os.environ[VOICES_VARIABLE] = str(places.voices)  # where the front end looks
    with load(places.model) as tts:
        wave = tts.synthesize(text, voice=voice_id, sampling=SamplingParams(seed=seed))
        writer = open_writer(path, tts.sample_rate)
        writer.write(wave)
        writer.close()
    print(f"{path}: {len(wave) / tts.sample_rate:.1f} s")


def _print_own(folder: Path) -> None:
    opened, store = open_model(folder), VoiceStore(folder)
    for name in store.names():
        voice: Any = store.load(name, opened.family.voice)
        mark = "*" if name == opened.config.default_voice else " "
        size = sum(array.nbytes for array in voice.to_arrays().values()) / 1000
        print(f"{mark} {name:<20} {size:>6.0f} kB  {voice.transcript}".rstrip())


def _line(record: VoiceRecord) -> str:
    seconds = f"{record.seconds:>6.1f} s " if record.seconds is not None else " " * 9
    return f"{record.id:<20} {seconds}  {record.transcript}".rstrip()


def _pack_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(pack.MOST_PACK_BYTES + 1)
    except OSError as error:
        raise InvalidRequest("pack", f"{path} cannot be read: {error.strerror}") from error
