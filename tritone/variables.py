"""The environment variables of a deployment, by what they set."""

MODEL_VARIABLE = "TRITONE_MODEL"
"""The model directory."""

PROFILE_VARIABLE = "TRITONE_PROFILE"
"""What serves, for messages; set by the launcher."""

DEVICE_VARIABLE = "TRITONE_DEVICE"
"""Where the flow and the vocoder run: cpu, cuda or cuda:N."""

PATIENCE_VARIABLE = "TRITONE_LOAD_PATIENCE"
"""Factor on the time limits of all steps of loading; raise it where disks are slow."""

DEADLINE_VARIABLE = "TRITONE_LOAD_DEADLINE"
"""Seconds after which a step ends the model's process, so that the server gives up; else never."""

FAMILIES_VARIABLE = "TRITONE_FAMILIES"
"""Folders with further model families, separated as in PATH."""
