"""The model directory, as far as it is alike for every family of models."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.model import files, text, voices, weights

CHECKS: tuple[Check, ...] = (*files.CHECKS, *voices.CHECKS, *weights.CHECKS, *text.CHECKS)
