"""Hostile input against everything that reads what others send: `make fuzz`."""
