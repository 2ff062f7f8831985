"""tritone gateway: HTTP in front of servers, until it is interrupted."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.launcher.gateway_process import MISSING, missing
from tritone.launcher.launch import termination_as_exit
from tritone.resources import embedded_voice
from tritone_client import Tls

Backend = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]HOST:PORT", help="gRPC of a server (127.0.0.1:8001); often, the first first"
    ),
]
Listen = Annotated[str, typer.Option(help="0.0.0.0 serves other machines too, who need keys")]
Open = Annotated[bool, typer.Option("--open", help="without keys, serve other machines too")]
Origins = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="web pages of this origin may call it; often; * for all"),
]
VoicesModel = Annotated[
    Path | None,
    typer.Option(
        envvar="TRITONE_MODEL",
        metavar="DIR",
        help="model directory of the servers, with --voices; without it the embedded voice",
    ),
]
Voices = Annotated[
    Path | None,
    typer.Option(
        envvar="TRITONE_VOICES",
        metavar="DIR",
        help="voices can be added: the registry that the servers read",
    ),
]
VoiceAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VOICE", help="what requests may call a voice, as alloy=heart; often"
    ),
]
WithTls = Annotated[bool, typer.Option("--tls", help="to the servers, with gRPC's own authorities")]


def gateway(
    backend: Backend = None,
    address: Listen = "127.0.0.1",
    port: Annotated[int, typer.Option(help="of HTTP")] = 8080,
    keys: options.Keys = None,
    open_to_all: Open = False,
    cors_origin: Origins = None,
    max_request_bytes: Annotated[int, typer.Option(help="of a request's body")] = 1 << 20,
    max_streams: Annotated[int, typer.Option(help="spoken at a time, for all callers")] = 64,
    encoder_threads: Annotated[int, typer.Option(help="for all streams together")] = 2,
    voices: Voices = None,
    voices_model: VoicesModel = None,
    voice_alias: VoiceAlias = None,
    tls: WithTls = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> int:
    """Serve OpenAI's speech API over running Tritone servers until interrupted.

    Exit status: 0 ended on request, 2 it could not start.
    """
    if missing():
        return refused(MISSING)
    from tritone.gateway.run import run
    from tritone.gateway.settings import Address, GatewaySettings
    from tritone.gateway.voice_names import alias

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        settings = GatewaySettings(
            backends=tuple(map(Address.of, backend)) if backend else GatewaySettings.backends,
            tls=_tls(tls, ca, cert, key),
            address=address,
            port=port,
            keys=keys,
            open_to_all=open_to_all,
            cors_origins=tuple(cors_origin or ()),
            max_request_bytes=max_request_bytes,
            max_streams=max_streams,
            encoder_threads=encoder_threads,
            voices=voices,
            voices_model=(voices_model or embedded_voice()) if voices else None,
            voice_aliases=dict(map(alias, voice_alias or ())),
        )
    except (OSError, ValueError) as error:
        return refused(error)
    try:
        with termination_as_exit(0):
            lines = f"OpenAI API: {settings.url}/v1", f"page to try it: {settings.url}/"
            run(settings, lambda: print(*lines, sep="\n", flush=True))
    except KeyboardInterrupt:
        return 0
    return 0


def _tls(wanted: bool, ca: Path | None, cert: Path | None, key: Path | None) -> Tls | None:
    """Raises OSError, or ValueError, for files that cannot be used."""
    if not (wanted or ca or cert or key):
        return None
    tls = Tls(ca, cert, key)
    tls.credentials()
    return tls
