"""The model directory, as far as it is alike for every family of models."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.model import files, text, voices, weights

CHECKS = checks_in(files, voices, weights, text)
