"""Convert the language model of a model directory to a TensorRT-LLM 0.20 checkpoint.

    python scripts/convert_checkpoint.py --model_dir models/my-model --dtype bfloat16

Its options are spelt as those of TensorRT-LLM's own scripts of that name. Runs without a GPU and
without tensorrt_llm. Exit status: 0 written, 1 refused or failed.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tritone.cli.command import refused
from tritone.errors import TritoneError
from tritone.llm.trtllm.build import build_command
from tritone.llm.trtllm.checkpoint import Conversion
from tritone.llm.trtllm.checkpoint_config import CHECKPOINTS_DIR, STORAGE, CheckpointOptions
from tritone.llm.trtllm.engine_settings import ENGINE_DTYPES, settings_for
from tritone.llm.trtllm.source_checkpoint import SourceLLM, open_llm


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/convert_checkpoint.py", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add(
        "--model_dir",
        type=Path,
        required=True,
        help="model directory of `tritone convert`, its llm, or a Qwen2 in Hugging Face form",
    )
    add("--output_dir", type=Path, help="(trtllm/DTYPE in the directory of the language model)")
    add(
        "--dtype",
        choices=list(STORAGE),
        default="bfloat16",
        help="GPUs before Ampere need float16; float32 is for comparison, no engine is built of it",
    )
    add("--tp_size", type=int, choices=(1, 2, 4), default=1, help="GPUs that share each layer (1)")
    add("--workers", type=int, default=1, help="ranks written at the same time (1)")
    add(
        "--use_weight_only",
        action="store_true",
        help="int8 matrices, made by trtllm-build; not for Blackwell (SM 100 and later)",
    )
    add("--weight_only_precision", choices=("int8",), default="int8")
    return parser


def summary(source: SourceLLM, files: list[Path]) -> str:
    """What was written and what does not travel with it."""
    width = max(len(path.name) for path in files)
    lines = [str(files[0].parent)]
    for path in files:
        size = tqdm.format_sizeof(path.stat().st_size, "B")
        lines.append(f"  {path.name:<{width}}  {size:>7}")
    if source.biased_rows is None:
        lines.append("The head has no bias; requests need no embedding_bias.")
    else:
        lines.append(
            f"lm_head.bias is not in it, since a TensorRT-LLM head has none: it allows "
            f"{source.biased_rows} of {source.config.vocab_size} ids and travels with each request "
            f"as embedding_bias, read from {source.weights.path}."
        )
    return "\n".join(lines)


def next_command(source: SourceLLM, checkpoint_dir: Path, dtype: str) -> str | None:
    """The command that builds the engine, where there is one."""
    if dtype not in ENGINE_DTYPES:
        return None
    if source.in_model_directory:
        model_dir = source.directory.resolve().parent
        return shlex.join(["tritone", "engines", str(model_dir)])
    engine_dir = checkpoint_dir.with_name(f"{checkpoint_dir.name}-engine")
    return shlex.join(build_command(settings_for(checkpoint_dir), checkpoint_dir, engine_dir))


def main(arguments: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    options = CheckpointOptions(args.dtype, args.tp_size, args.use_weight_only)
    try:
        source = open_llm(args.model_dir)
        output_dir = args.output_dir or source.directory / CHECKPOINTS_DIR / options.name
        conversion = Conversion(source, output_dir, options)
        with tqdm(total=conversion.nbytes, unit="B", unit_scale=True, desc="convert") as bar:
            files = conversion.run(args.workers, bar.update)
        command = next_command(source, files[0].parent, args.dtype)
    except (TritoneError, OSError) as error:
        return refused(error, 1)
    print(summary(source, files))
    if command is not None:
        print(f"Next, on the machine with the GPU: {command}")
    return 0
