"""The client's own command under this name."""

from tritone_client.say import main as main
