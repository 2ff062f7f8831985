"""A running server seen from outside: its health, its metrics over time, and its last errors."""
