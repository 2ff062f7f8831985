"""TensorRT-LLM: conversion and engines (0.20, after which it removed them), and both runtimes.

What converts and builds imports neither torch nor tensorrt_llm, so that it runs without them.
"""
