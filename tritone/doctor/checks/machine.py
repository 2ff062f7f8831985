"""To be written."""

from tritone.doctor.check import Check

CHECKS: tuple[Check, ...] = ()
