"""Imports tensorrt_llm in a process of its own, run by path.

argument: sys.path as JSON, which the interpreter that runs models inside Triton does not tell a
child. Nothing of Tritone is imported: only the package's own import is on trial.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    importlib.import_module("tensorrt_llm")
