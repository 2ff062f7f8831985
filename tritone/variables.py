"""The environment variables of a deployment, by what they set."""

MODEL_VARIABLE = "TRITONE_MODEL"  # the model directory
PROFILE_VARIABLE = "TRITONE_PROFILE"  # what serves, for messages; set by the launcher
DEVICE_VARIABLE = "TRITONE_DEVICE"  # where flow and vocoder run: cpu, cuda or cuda:N
CACHE_VARIABLE = "TRITONE_CACHE"  # where what is made for this machine goes
KERNELS_VARIABLE = "TRITONE_KERNELS"  # where kernels in C are built, in the place of the cache
FAMILIES_VARIABLE = "TRITONE_FAMILIES"  # folders with further families, separated as in PATH

# Factor on the time limits of all steps of loading; raise it where disks are slow.
PATIENCE_VARIABLE = "TRITONE_LOAD_PATIENCE"

# Seconds after which a step ends the model's process, so that the server gives up; else never.
DEADLINE_VARIABLE = "TRITONE_LOAD_DEADLINE"

# What the models of a server show each other, so that the inner ones answer no client; set by the
# launcher. Without it they answer everybody.
INNER_KEY_VARIABLE = "TRITONE_INNER_KEY"

# 1: the log may quote what clients send; else it does not. Set by the launcher.
LOG_TEXT_VARIABLE = "TRITONE_LOG_TEXT"

LEXICON_VARIABLE = "TRITONE_LEXICON"
"""A lexicon.tsv in the place of the model directory's."""

VOICES_VARIABLE = "TRITONE_VOICES"  # the folder of the voice registry

# JSON, model -> parameter -> value: in place of what config.pbtxt says; set by the launcher.
SETTINGS_VARIABLE = "TRITONE_SETTINGS"

RESTARTS_VARIABLE = "TRITONE_RESTARTS"  # how often the launcher started this server again
BEATS_VARIABLE = "TRITONE_BEATS"  # the descriptor on which models' processes tell that they live
UNWANTED_VARIABLE = "TRITONE_UNWANTED"  # that of the page on which streams are given up
