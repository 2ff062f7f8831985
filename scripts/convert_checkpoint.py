"""TensorRT-LLM checkpoint of a model directory: see tritone/cli/convert_checkpoint.py."""

import sys

from tritone.cli.convert_checkpoint import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
