"""Stands in for trtllm-build 0.20: the same options, and the engine directory that it leaves.

$FAKE_TRTLLM_BUILD chooses what it does: nothing set builds, `hang` never ends and starts a child,
`crash` fails, `killed` dies, and anything else is the version that it says it is.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# as the log of a build with 0.20.0 lists them
DTYPE_PLUGINS = ("bert_attention_plugin", "gpt_attention_plugin", "gemm_plugin", "nccl_plugin")
DTYPE_PLUGINS += ("lora_plugin", "moe_plugin")
SWITCHES = {
    "context_fmha": "enable",
    "remove_input_padding": "enable",
    "norm_quant_fusion": "disable",
    "reduce_fusion": "disable",
    "user_buffer": "disable",
    "use_paged_context_fmha": "enable",
    "use_fp8_context_fmha": "enable",
    "multiple_profiles": "disable",
    "use_fused_mlp": "enable",
}
NUMBERS = {
    "max_batch_size": 2048,
    "max_input_len": 1024,
    "max_seq_len": None,
    "max_beam_width": 1,
    "max_num_tokens": 8192,
    "opt_num_tokens": None,
    "max_prompt_embedding_table_size": 0,
    "max_draft_len": 0,
}
VALUES = {True: "enable", False: "disable", None: "disable"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("checkpoint_dir", "output_dir", "input_timing_cache", "output_timing_cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name, default in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in DTYPE_PLUGINS:
        choices = ["auto", "float16", "float32", "bfloat16", "int32", "disable"]
        parser.add_argument(f"--{name}", choices=choices, default="auto")
    for name, default in SWITCHES.items():
        parser.add_argument(f"--{name}", choices=["enable", "disable"], default=default)
    parser.add_argument("--tokens_per_block", type=int, default=32)
    parser.add_argument("--kv_cache_type", choices=["continuous", "paged", "disabled"])
    parser.add_argument("--logits_dtype", choices=["float16", "float32"])
    parser.add_argument("--profiling_verbosity", choices=["layer_names_only", "detailed", "none"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log_level", default="info")
    return parser.parse_args()


def engine_config(args: argparse.Namespace, checkpoint: dict, version: str) -> dict:
    given = vars(args)
    world = checkpoint["mapping"]["world_size"]
    plugins = {name: None if given[name] == "disable" else given[name] for name in DTYPE_PLUGINS}
    plugins["nccl_plugin"] = checkpoint["dtype"] if world > 1 else None
    switches = {name: given[name] == "enable" for name in SWITCHES}
    return {
        "version": version,
        "pretrained_config": {**checkpoint, "logits_dtype": args.logits_dtype},
        "build_config": {
            **{name: given[name] for name in NUMBERS},
            "kv_cache_type": args.kv_cache_type.upper(),
            "profiling_verbosity": args.profiling_verbosity,
            "gather_context_logits": False,
            "weight_sparsity": False,
            "weight_streaming": False,
            "use_strip_plan": False,
            "plugin_config": {
                "dtype": checkpoint["dtype"],
                **plugins,
                **switches,
                "paged_kv_cache": args.kv_cache_type == "paged",
                "tokens_per_block": args.tokens_per_block,
                "manage_weights": False,
            },
        },
    }


def main() -> None:
    role = os.environ.get("FAKE_TRTLLM_BUILD", "")
    if role == "hang":
        child = subprocess.Popen(["sleep", "600"])
        print(f"child {child.pid}", flush=True)
        time.sleep(600)
    version = role if role[:1].isdigit() else "0.20.0"
    print(f"[TensorRT-LLM] TensorRT-LLM version: {version}", flush=True)
    if version != "0.20.0":
        time.sleep(600)
    jobs = sorted(name for name in os.environ if name.startswith(("OMPI_", "SLURM_", "PMIX_")))
    print("job variables:", *jobs, flush=True)
    args = parse()
    if role == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if role == "crash":
        print("\n".join(f"line {number}" for number in range(40)))
        raise RuntimeError("CUDA out of memory")
    checkpoint = json.loads((args.checkpoint_dir / "config.json").read_text())
    args.output_dir.mkdir(parents=True)
    config = engine_config(args, checkpoint, version)
    (args.output_dir / "config.json").write_text(json.dumps(config, indent=4))
    for rank in range(checkpoint["mapping"]["world_size"]):
        (args.output_dir / f"rank{rank}.engine").write_bytes(b"engine")
    args.output_timing_cache.write_bytes(b"timings")


if __name__ == "__main__":
    sys.exit(main())
