"""A running server, asked over HTTP and looked at from outside."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.server import health

CHECKS: tuple[Check, ...] = health.CHECKS
