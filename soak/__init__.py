"""A server under mixed load for a long time: `make soak`. What it must not lose, mix up or keep."""
