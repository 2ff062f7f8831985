"""The voice registry: voices that were added, on disk, outside any model directory."""
