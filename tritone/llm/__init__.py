"""The language model that turns a prompt into speech tokens.

The runtimes here run one decoder architecture, Qwen2's, with speech ids beside those of text.
"""
