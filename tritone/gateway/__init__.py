"""The gateway: HTTP as OpenAI's clients speak it, in front of one or several Tritone servers.

A process of its own, on one event loop: what it asks of servers goes over gRPC, what takes time
(encoding) to a few threads. Triton's processes import nothing of it.
"""
