"""The Python that serves: the interpreter, what is installed in it, what can be imported."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.python import imports, interpreter, requirements

CHECKS = checks_in(interpreter, requirements, imports)
