"""A running server, asked over HTTP and looked at from outside."""
