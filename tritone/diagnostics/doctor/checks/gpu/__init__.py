"""The GPU: its driver, what it can compute, what the models' processes share on it, torch."""
