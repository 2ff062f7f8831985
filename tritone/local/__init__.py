"""Everything in one process: a model directory as an object, and whole manifests."""
