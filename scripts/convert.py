"""Convert a released CosyVoice2 directory to a Tritone model directory.

    python scripts/convert.py CosyVoice2-0.5B models/cosyvoice2

A run that was broken off continues where it stopped; what has not changed is not done again.
"""

import argparse
import sys
from pathlib import Path

from tritone.errors import TritoneError
from tritone.families.cosyvoice2.convert import Conversion, Options
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice2.self_check import self_check
from tritone.llm.onnx.graph import PRECISIONS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("upstream_dir", type=Path, help="the checkpoint as downloaded")
    parser.add_argument("model_dir", type=Path, help="where to write")
    parser.add_argument("--merged-llm", type=Path, help="merged LLM directory, if llm.pt is absent")
    parser.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), help="of the stored weights (default: as is)"
    )
    parser.add_argument(
        "--llm-precision",
        choices=sorted(PRECISIONS),
        nargs="*",
        default=["int8"],
        help="graphs of the language model to build for CPUs (default: int8)",
    )
    args = parser.parse_args()
    try:
        source = open_source(args.upstream_dir, args.merged_llm)
        options = Options(dtype=args.dtype, graphs=tuple(args.llm_precision))
        Conversion(source, args.model_dir, options).run()
        for line in self_check(args.model_dir, options.graphs):
            print(f"ok  {line}")
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.model_dir} is ready: python scripts/serve.py --model {args.model_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
