"""The tempos that vocoders are made for. Importing this imports no torch."""

SLOWEST, FASTEST = 0.5, 2.0
