"""Speak a text from the command line: tritone-say "Hello there." -o hello.wav

Exit status: 0 spoken, 1 the server refused or failed, 2 wrong usage, 3 no server or it went away,
4 out of time, 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tritone_client.emotion import emotion_of
from tritone_client.metrics import StreamMeter, StreamMetrics
from tritone_client.output import SUFFIXES, AudioWriter, check_target, open_writer
from tritone_client.recording import read_recording
from tritone_client.request import Utterance, pad_reference
from tritone_client.response import SpeechError
from tritone_client.servers import add_options as add_server_options
from tritone_client.sync import DEFAULT_TIMEOUT, SpeechClient
from tritone_client.tls import Tls, add_options, from_options

_EXIT_STATUS = {"UNAVAILABLE": 3, "DEADLINE_EXCEEDED": 4}


def build_parser(prog: str) -> argparse.ArgumentParser:
    about = "Speak a text through a Tritone server."
    parser = argparse.ArgumentParser(prog=prog, description=about)
    add = parser.add_argument
    add("text", help="what to say; - reads it from standard input")
    add(
        "-o", "--output", metavar="FILE", help=f"{' '.join(SUFFIXES)}, or - for raw s16le on stdout"
    )
    raw = "raw s16le on stdout, at the model's rate: ... --play | aplay -f S16_LE -r RATE"
    add("--play", action="store_true", help=raw)
    add_server_options(parser)
    add("--model", help="Triton model (the public one that is ready)")
    add("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds (%(default)s)")
    add("--request-id", default="", help="under which the server logs the request")
    add("--timing", action="store_true", help="ask a server of Tritone where its time went")
    add("--json", action="store_true", help="metrics as JSON on stdout")
    add = parser.add_argument_group("voice").add_argument
    add("--voice", help="a voice registered with the server")
    add("--reference-audio", metavar="FILE", help="a recording of the voice to use")
    add("--reference-text", help="what the recording says")
    add("--pad-reference", type=float, metavar="SECONDS", help="pad the recording to a multiple")
    add("--instruct", dest="instruct_text", metavar="TEXT", help="how to speak, in words")
    add = parser.add_argument_group("emotion, of models that have them").add_argument
    shares = "a share of each of the model's emotions, with commas between"
    add("--emotion-vector", type=numbers, metavar="NUMBERS", help=shares)
    add("--emotion-audio", metavar="FILE", help="or a recording that sounds so")
    add("--emotion-text", metavar="TEXT", help="or words that it is read out of")
    add("--emotion-weight", type=float, help="how much of it, 0 to 1")
    add = parser.add_argument_group("speech").add_argument
    add("--seed", type=int, help="the same seed gives the same audio")
    add("--temperature", type=float)
    add("--top-p", type=float)
    add("--top-k", type=int)
    add("--speed", type=float, help="0.5 to 2.0")
    whole = "the whole utterance in one packet"
    add("--no-stream", dest="streaming", action="store_false", help=whole)
    add_options(parser)
    return parser


def numbers(text: str) -> tuple[float, ...]:
    """Raises ValueError."""
    return tuple(map(float, text.split(",")))


def utterance_from(options: argparse.Namespace) -> Utterance:
    """Recordings are read at their own rates and mixed to mono. Raises ValueError."""
    known = {field.name for field in fields(Utterance)}
    given = {name: value for name, value in vars(options).items() if name in known}
    if options.text == "-":
        given["text"] = sys.stdin.read().strip()
    if options.reference_audio:
        given["reference_wav"], given["reference_rate"] = read_recording(options.reference_audio)
    utterance = Utterance(**given, emotion=emotion_of(vars(options), read_recording))
    if options.pad_reference:
        utterance = pad_reference(utterance, options.pad_reference)
    return utterance


def summary(metrics: StreamMetrics) -> str:
    """One line for a person."""
    if metrics.first_packet_s is None or metrics.rtf is None:
        return f"no audio in {metrics.total_s:.2f} s"
    again = f", asked again {metrics.retries} times" if metrics.retries else ""
    dry = f"{metrics.underruns} underruns ({metrics.underrun_s:.2f} s)"
    return (
        f"{metrics.audio_s:.2f} s of audio in {metrics.total_s:.2f} s (RTF {metrics.rtf:.2f}), "
        f"first packet {metrics.first_packet_s:.3f} s, {metrics.packets} packets, "
        f"{dry if metrics.underruns else 'no underruns'}{again}"
    )


def parts(record: dict[str, Any]) -> str:
    """Where the server's time went, in one line for a person."""
    parts = (f"{name} {1000 * seconds:.0f}" for name, seconds in record["parts_s"].items())
    return f"request {record['id']}, ms: {', '.join(parts)}"


def speak(
    options: argparse.Namespace,
    utterance: Utterance,
    targets: Sequence[str],
    writers: list[AudioWriter],
    tls: Tls | None,
) -> tuple[StreamMetrics, dict[str, Any] | None]:
    """Stream the utterance to the targets; also the server's last record, if asked for.

    writers: theirs, added with the first packet, as a refused text is to leave no empty file.
    """
    patience = {"retries": options.retries, "resume": options.resume}
    with SpeechClient(options.url, options.model, tls, **patience) as client:
        rate, record = client.sample_rate, None
        meter = StreamMeter(rate)
        for packet in client.packets(
            utterance,
            timeout=options.timeout,
            timing=options.timing,
            request_id=options.request_id,
            on_retry=meter.retry,
        ):
            meter.packet(packet.samples)
            if not writers:
                writers += [open_writer(target, rate) for target in targets]
            for writer in writers:
                writer.write(packet.samples)
            record = packet.timing or record
        return meter.finish(), record


def run(
    options: argparse.Namespace, utterance: Utterance, targets: Sequence[str], tls: Tls | None
) -> int:
    """Speak into the targets and say how it went; the exit status."""
    writers: list[AudioWriter] = []
    try:
        metrics, record = speak(options, utterance, list(dict.fromkeys(targets)), writers, tls)
    except SpeechError as error:
        kept = f" (what had arrived is in {options.output})"
        print(f"{error}{kept if writers and options.output else ''}", file=sys.stderr)
        return _EXIT_STATUS.get(error.status, 1)
    except (OSError, ValueError) as error:
        print(f"cannot speak or write this: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        for writer in writers:
            writer.close()
    print(summary(metrics), file=sys.stderr)
    if record is not None:
        print(parts(record), file=sys.stderr)
    if options.json:
        server = {} if record is None else {"server": record}
        print(json.dumps({**metrics.as_dict(), **server}))
    return 0


def main(arguments: Sequence[str] | None = None, prog: str = "tritone-say") -> int:
    """The command, by default with the arguments of this process."""
    parser = build_parser(prog)
    options = parser.parse_args(arguments)
    targets = [target for target in (options.output, "-" if options.play else None) if target]
    if options.json and "-" in targets:
        parser.error("--json and raw audio both want stdout; write the audio to a file with -o")
    try:
        for target in targets:
            check_target(target)
        utterance = utterance_from(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return run(options, utterance, targets, from_options(parser, options))


if __name__ == "__main__":
    sys.exit(main())
