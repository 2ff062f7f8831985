"""tritone gateway: HTTP in front of servers, until it is interrupted."""

import logging

from tritone.cli.command import refused
from tritone.cli.gateway_options import Callers, Limits, Servers, Speakers
from tritone.gateway.settings import GatewaySettings
from tritone.launcher.gateway_process import MISSING, missing
from tritone.launcher.termination import termination_as_exit


def gateway(servers: Servers, callers: Callers, limits: Limits, speakers: Speakers) -> int:
    """Serve OpenAI's speech API over running Tritone servers until interrupted.

    Exit status: 0 ended on request, 2 it could not start.
    """
    if missing():
        return refused(MISSING)
    from tritone.gateway.run import run

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        settings = _settings(servers, callers, limits, speakers)
    except (OSError, ValueError) as error:
        return refused(error)
    try:
        with termination_as_exit(0):
            lines = f"OpenAI API: {settings.url}/v1", f"page to try it: {settings.url}/"
            run(settings, lambda: print(*lines, sep="\n", flush=True))
    except KeyboardInterrupt:
        return 0
    return 0


def _settings(
    servers: Servers, callers: Callers, limits: Limits, speakers: Speakers
) -> GatewaySettings:
    """Raises OSError or ValueError for certificates, and EnvironmentProblem for the rest."""
    from tritone.gateway.voice_names import aliases

    return GatewaySettings(
        backends=servers.addresses,
        tls=servers.with_tls,
        address=callers.address,
        port=callers.port,
        keys=callers.keys,
        open_to_all=callers.open_to_all,
        cors_origins=tuple(callers.cors_origin or ()),
        max_request_bytes=limits.max_request_bytes,
        max_streams=limits.max_streams,
        max_connections=limits.max_connections,
        idle_seconds=limits.idle_seconds,
        stall_seconds=limits.stall_seconds,
        encoder_threads=limits.encoder_threads,
        voices=speakers.voices,
        voices_model=speakers.made_by,
        voice_aliases=aliases(speakers.voice_alias or ()),
    )
