"""How much of the past the flow keeps in view, as token2wav's configuration says it."""

from typing import Any

import pytest
from google.protobuf import text_format
from paths import PROJECT
from tritonclient.grpc import model_config_pb2

from tritone.serving.parameters import left_chunks

NAME = "left_context_chunks"


def test_the_family_decides_where_nobody_says() -> None:
    written = (PROJECT / "model_repo" / "token2wav" / "config.pbtxt").read_text(encoding="utf-8")
    config: Any = text_format.Parse(written, model_config_pb2.ModelConfig())
    assert left_chunks({NAME: config.parameters[NAME].string_value}) is None


@pytest.mark.parametrize("said", ["0", "4"])
def test_a_number_is_taken_as_it_is(said: str) -> None:
    assert left_chunks({NAME: said}) == int(said)


@pytest.mark.parametrize("said", ["-1", "4.5", "all", ""])
def test_another_word_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=f"{NAME} is '{said}'; take auto, or a number of chunks"):
        left_chunks({NAME: said})
