"""Every environment variable of Tritone, by name."""

MODEL = "TRITONE_MODEL"
"""The model directory that the server's models read; default: the embedded voice."""

PROFILE = "TRITONE_PROFILE"
"""The launcher's profile, for messages and for what only one profile needs."""

DEVICE = "TRITONE_DEVICE"
"""Where flow and vocoder run: cpu, cuda or cuda:N."""

FAMILIES = "TRITONE_FAMILIES"
"""Folders with further model families, separated as in PATH."""

LOAD_PATIENCE = "TRITONE_LOAD_PATIENCE"
"""Factor on the time limits of all loading steps; raise it where disks are slow."""

LOAD_DEADLINE = "TRITONE_LOAD_DEADLINE"
"""Seconds after which a loading step ends the model's process, so that the server gives up."""
