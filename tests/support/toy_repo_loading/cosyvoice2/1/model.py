"""A model whose loading does not come to its end; TOY_LOADING says how: hangs, or fails."""

import os
import time
from pathlib import Path

from tritone.loading.steps import step
from tritone.serving.parameters import watched


def a_disk_that_does_not_answer():
    time.sleep(600)


class TritonPythonModel:
    @watched("cosyvoice2")
    def initialize(self, args):
        with step("text tokenizer", Path(__file__)):
            pass
        with step("flow weights", Path(__file__)):
            if os.environ["TOY_LOADING"] == "fails":
                raise FileNotFoundError("flow.safetensors is not there")
            a_disk_that_does_not_answer()

    def execute(self, requests):
        raise AssertionError("never loaded")
