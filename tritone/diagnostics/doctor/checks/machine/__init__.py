"""The machine: instructions, cores, memory, folders, limits."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks.machine import limits, memory, processor, storage

CHECKS: tuple[Check, ...] = (
    *processor.CHECKS,
    *memory.CHECKS,
    *storage.CHECKS,
    *limits.CHECKS,
)
