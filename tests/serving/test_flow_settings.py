"""What the configurations of flow and vocoder say: how much of the past is kept in view, and where
they compute."""

from dataclasses import fields
from typing import Any

import pytest
from google.protobuf import text_format
from paths import PROJECT
from tritonclient.grpc import model_config_pb2

from tritone.acoustic.presets import AS_IT_IS, SolverChoice
from tritone.serving.parameters import device_name, left_chunks

NAME = "left_context_chunks"


def test_the_family_decides_where_nobody_says() -> None:
    written = (PROJECT / "model_repo" / "token2wav" / "config.pbtxt").read_text(encoding="utf-8")
    config: Any = text_format.Parse(written, model_config_pb2.ModelConfig())
    assert left_chunks({NAME: config.parameters[NAME].string_value}) is None


def test_the_checkpoint_s_solver_is_kept_where_nobody_says() -> None:
    """And all that may be asked for of it has a parameter."""
    written = (PROJECT / "model_repo" / "token2wav" / "config.pbtxt").read_text(encoding="utf-8")
    config: Any = text_format.Parse(written, model_config_pb2.ModelConfig())
    said = {f.name: config.parameters[f.name].string_value for f in fields(SolverChoice)}
    assert said == {name: str(value) for name, value in vars(AS_IT_IS).items()}


@pytest.mark.parametrize("said", ["0", "4"])
def test_a_number_is_taken_as_it_is(said: str) -> None:
    assert left_chunks({NAME: said}) == int(said)


@pytest.mark.parametrize("said", ["-1", "4.5", "all", ""])
def test_another_word_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=f"{NAME} is '{said}'; take auto, or a number of chunks"):
        left_chunks({NAME: said})


def test_each_model_may_have_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITONE_DEVICE", "cuda")
    assert device_name("auto") == "cuda", "of the profile"
    assert device_name("cuda:1") == "cuda:1"


@pytest.mark.parametrize("model", ["token2wav", "vocoder"])
def test_it_is_a_setting_of_its_configuration(model: str) -> None:
    written = (PROJECT / "model_repo" / model / "config.pbtxt").read_text(encoding="utf-8")
    config: Any = text_format.Parse(written, model_config_pb2.ModelConfig())
    assert config.parameters["device"].string_value == "auto"
