"""The language model that makes speech tokens of a prompt: a Qwen2 with speech ids beside text."""
