"""Stand-in for TensorRT-LLM: the names and signatures that Tritone calls, and no computation.

FAKE_TRTLLM says how the import behaves: "hang", "fail", or well when unset.
"""

import importlib
import os
import time
from typing import Any

_behaviour = os.environ.get("FAKE_TRTLLM")
if _behaviour == "hang":
    open(f"{os.environ['HANG_MARKS']}/{os.getpid()}", "w").close()  # see out_of_time.py
    time.sleep(600)
if _behaviour == "fail":
    raise ImportError("libmpi.so.40: cannot open shared object file")
if any(name.startswith(("OMPI_COMM_", "PMIX_RANK")) for name in os.environ):
    time.sleep(600)  # a job's variables make the real import wait for that job's daemon


def __getattr__(name: str) -> Any:
    if name in ("LLM", "SamplingParams"):  # not before they are used: torch takes long to import
        return getattr(importlib.import_module("tensorrt_llm.llmapi"), name)
    raise AttributeError(name)
