"""What the doctor examines of a toy model."""

import sys

from tritone.diagnostics.doctor.check import Finding, check, checks_in, failure, passed
from tritone.diagnostics.doctor.target import Target


def _not_ours(target: Target) -> str:
    return "" if target.family in ("", "toy") else f"is of the family {target.family}"


@check("model.tones", unless=_not_ours)
def tones(target: Target) -> Finding:
    """A tone can be heard."""
    lowest = float(target.section["lowest_hz"])
    if lowest < 20:
        return failure(f"tones of {lowest:g} Hz cannot be heard", "convert it again")
    return passed(f"tones of {lowest:g} Hz and above")


CHECKS = checks_in(sys.modules[__name__])
