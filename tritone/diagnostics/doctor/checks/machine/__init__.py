"""The machine: instructions, cores, memory, folders, limits."""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.machine import limits, memory, processor, storage

CHECKS = checks_in(processor, memory, storage, limits)
