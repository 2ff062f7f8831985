"""Released checkpoints to model directories. Upstream's file and key names are known here alone."""
