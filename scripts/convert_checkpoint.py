"""TensorRT-LLM checkpoint of a model directory: see tritone/cli/convert_checkpoint.py."""

from tritone.cli.convert_checkpoint import main

if __name__ == "__main__":
    raise SystemExit(main())
