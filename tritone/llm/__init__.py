"""The language model that turns text ids into speech tokens."""
