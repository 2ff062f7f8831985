"""The configuration files: laid over each other, and refused where they say something unknown."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from trained_work import CONFIG

from training.config import of_kind, read_voice
from tritone.families.cosyvoice2.config import FlowConfig
from tritone.families.cosyvoice3 import config as cosyvoice3


def test_a_later_file_replaces_single_values(tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("flow: {loop: {steps: 12}}\nspeaker_encoder: {rates: [1.0]}\n")
    plain, changed = read_voice(CONFIG), read_voice(CONFIG, change)
    assert changed.flow.loop.steps == 12 != plain.flow.loop.steps
    assert changed.flow.loop.batch == plain.flow.loop.batch
    assert changed.speaker_encoder.rates == (1.0,)
    rest = {"flow": plain.flow, "speaker_encoder": plain.speaker_encoder}
    assert changed.model_copy(update=rest) == plain


def test_null_takes_a_value_away(tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("speakers: {joe: null}\nvocoder: {rows: {joe: null}}\n")
    changed = read_voice(CONFIG, change)
    assert list(changed.speakers) == list(changed.vocoder.rows) == ["heart"]


def test_a_file_of_comments_changes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing yet\n")
    assert read_voice(CONFIG, empty) == read_voice(CONFIG)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("vocoder: {loop: {stepps: 3}}", "vocoder.loop.stepps"),
        ("colour: blue", "colour"),
        ("flow: {tokens: many}", "flow.tokens"),
    ],
)
def test_a_key_at_fault_is_named(text: str, key: str, tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text(text + "\n")
    with pytest.raises(ValidationError) as error:
        read_voice(CONFIG, change)
    assert [".".join(map(str, e["loc"])) for e in error.value.errors()] == [key]
    assert key in str(error.value)


def test_shipped_files_parse() -> None:
    voice = read_voice(CONFIG, CONFIG.with_name("gpu.yaml"))
    assert list(voice.speakers) == ["heart", "joe"]
    assert voice.language_model.batch_tokens > read_voice(CONFIG).language_model.batch_tokens
    assert voice.flow.model.vocab_size == 3**8
    assert voice.vocoder.model.samples_per_frame * voice.flow.model.token_mel_ratio == 960
    assert set(voice.language_model.prompted) <= set(voice.speakers)


def test_the_other_generation_has_networks_of_its_own() -> None:
    voice = read_voice(CONFIG, CONFIG.with_name("cosyvoice3.yaml"))
    assert voice.family == "cosyvoice3" and list(voice.speakers) == ["heart"]
    model = of_kind(cosyvoice3.FlowConfig, voice.flow.model)
    assert model.vocab_size == voice.codes
    of_kind(cosyvoice3.VocoderConfig, voice.vocoder.model)
    with pytest.raises(SystemExit, match=r"is not of tritone\.families\.cosyvoice2\.config"):
        of_kind(FlowConfig, voice.flow.model)
