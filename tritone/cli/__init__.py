"""The commands: what a person types, and what it prints."""
