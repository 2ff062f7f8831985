"""Speaking a whole manifest in this process, without a server: see tritone offline."""

from tritone.local.offline.log import RunLog
from tritone.local.offline.manifest import Item, Manifest, Problem, read_manifest
from tritone.local.offline.speak import MAX_BATCH, Outcome, speak_all, wave_path

__all__ = [
    "MAX_BATCH",
    "Item",
    "Manifest",
    "Outcome",
    "Problem",
    "RunLog",
    "read_manifest",
    "speak_all",
    "wave_path",
]
