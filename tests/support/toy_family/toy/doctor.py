"""What the doctor examines of a toy model."""

from tritone.families.toy import ToyConfig

from tritone.diagnostics.doctor.check import Check, Finding, failure, passed
from tritone.diagnostics.doctor.target import Target


def tones(target: Target) -> Finding:
    lowest = ToyConfig.read(target.model_dir).lowest_hz
    if lowest < 20:
        return failure(f"tones of {lowest:g} Hz cannot be heard", "convert it again")
    return passed(f"tones of {lowest:g} Hz and above")


CHECKS: tuple[Check, ...] = (Check("model.tones", tones),)
