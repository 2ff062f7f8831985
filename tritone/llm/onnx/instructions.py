"""What a processor must have for a precision."""

from tritone.errors import EnvironmentProblem
from tritone.resources import processor

INT8_UNITS = ("amx_int8", "avx512_vnni", "avx_vnni")  # flags, the fastest first


def check_instructions(precision: str, cpuinfo: str | None = None) -> None:
    """cpuinfo: of the processor, None for this one.

    Products of whole rows are of bytes and signed bytes. Without units for them, ONNX Runtime adds
    pairs of those in 16 bits, where large ones are cut off. Raises EnvironmentProblem then.
    """
    # not above: the doctor reads the names where numpy may be what is broken
    from tritone.llm.onnx.precision import PRECISIONS

    if not PRECISIONS[precision].by_rows:
        return
    if not processor.instructions(cpuinfo).intersection(INT8_UNITS):
        raise EnvironmentProblem(
            f"precision is {precision!r}, which needs a processor with one of "
            f"{', '.join(INT8_UNITS)}; take int8 in its place"
        )
