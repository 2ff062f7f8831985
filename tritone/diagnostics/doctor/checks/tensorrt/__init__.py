"""TensorRT and TensorRT-LLM: versions that fit one another, engines that fit, Triton's backends."""
