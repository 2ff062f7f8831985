"""A running server, asked over HTTP and looked at from outside."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.server import health

CHECKS = checks_in(health)
