"""The GPU: its driver, what it can compute, what the models' processes share on it, torch."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.gpu import device, sharing, torch

CHECKS = checks_in(device, sharing, torch)
