"""TensorRT and TensorRT-LLM: versions that fit one another, engines that fit, Triton's backends."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.tensorrt import backends, plans, versions

CHECKS = checks_in(versions, plans, backends)
