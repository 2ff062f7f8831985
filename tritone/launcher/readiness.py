"""Whether a Triton server can be asked."""

from tritone.launcher.drain import ask, demand
from tritone.launcher.settings import ServerUrls


def is_ready(urls: ServerUrls) -> bool:
    """Whether every model of the server can be asked. Raises TimeoutError where it says nothing."""
    return demand(f"{urls.http}/v2/health/ready") is not None


def is_open(urls: ServerUrls) -> bool:
    """Whether it listens on its metrics too: Triton 2.51 opens that port last, after the one on
    which it says that it is ready."""
    return ask(f"{urls.http}/v2/health/ready") is not None and ask(urls.metrics) is not None
