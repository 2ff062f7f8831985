"""The language model for TensorRT-LLM 0.20: checkpoint conversion and the call of trtllm-build.

Nothing here imports torch or tensorrt_llm, so a checkpoint can be converted where neither runs.
TensorRT-LLM froze its engine path at 0.20 and later removed it; no other package may know it.
"""
