"""The GPU: its driver, what it can compute, what the models' processes share on it, torch."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.gpu import device, sharing, torch

CHECKS: tuple[Check, ...] = (*device.CHECKS, *sharing.CHECKS, *torch.CHECKS)
