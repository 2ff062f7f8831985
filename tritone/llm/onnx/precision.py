"""The precisions that graphs of the language model are built in, by name."""

from dataclasses import dataclass

from tritone.llm.onnx.matrix_format import BlockFormat, Format, RowFormat


@dataclass(frozen=True)
class Precision:
    """Formats of the matrices: of the layers' MLPs, which are the most of the weights, and of all
    others. Those of attention and above all the head lose more by rounding and cost less to keep.
    """

    others: Format
    mlp: Format

    @classmethod
    def of_all(cls, form: Format) -> "Precision":
        return cls(form, form)

    @property
    def by_rows(self) -> bool:
        return isinstance(self.others, RowFormat) or isinstance(self.mlp, RowFormat)


_INT8 = BlockFormat(bits=8, block_size=128)
_INT4 = BlockFormat(bits=4, block_size=128)
PRECISIONS = {
    "fp32": Precision.of_all(None),
    "int8": Precision.of_all(_INT8),
    "int8_rows": Precision.of_all(RowFormat()),
    "int4": Precision.of_all(BlockFormat(bits=4, block_size=32)),
    "int4_b128": Precision.of_all(_INT4),
    "int4_mixed": Precision(_INT8, _INT4),
}
