"""TensorRT and TensorRT-LLM: versions that fit one another, engines that fit, Triton's backends."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.tensorrt import backends, plans, versions

CHECKS: tuple[Check, ...] = (*versions.CHECKS, *plans.CHECKS, *backends.CHECKS)
