"""The TensorRT that plans are built and run with. Importing this imports neither it nor torch."""

PACKAGE = "tensorrt"
VERSION = (10, 10)  # what TensorRT-LLM 0.20 is built on
REQUIREMENT = "tensorrt-cu12==10.10.0.31"
