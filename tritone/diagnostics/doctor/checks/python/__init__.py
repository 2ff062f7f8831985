"""The Python that serves: the interpreter, what is installed in it, what can be imported."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.python import imports, interpreter, requirements

CHECKS: tuple[Check, ...] = (*interpreter.CHECKS, *requirements.CHECKS, *imports.CHECKS)
