"""A model that cannot start, to see what the launcher says about it."""


class TritonPythonModel:
    def initialize(self, args):
        raise FileNotFoundError("tokenizer.json is not there")

    def execute(self, requests):
        raise AssertionError("never loaded")
