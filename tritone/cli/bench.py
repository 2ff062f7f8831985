"""The client's own command under this name."""

from tritone_client.bench import main as main
