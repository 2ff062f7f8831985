"""Going on from an earlier voice: what the stages begin with is what that voice has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from paths import EMBEDDED
from trained_work import CONFIG

from training.config import LoopConfig, VoiceConfig, read_voice
from training.factored import FactoredTable, code_features
from training.language_model import SpeechLanguageModel
from training.loop import START, Training
from training.start import FROZEN, begin, unfold
from training.text_tokens import TextTokens
from training.train_speaker_encoder import load_speaker_encoder
from training.train_tokenizer import load_encoder
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.acoustics import load_hift, load_network
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.reference import load_reader
from tritone.frontend.audio.features import kaldi_fbank, whisper_log_mel
from tritone.llm.checkpoint import EMBEDDING, HEAD, HEAD_BIAS, LLM_DIR, WEIGHTS_NAME

SERVED = CosyVoice2Config.read(EMBEDDED)


@pytest.fixture(scope="module")
def voice() -> VoiceConfig:
    return read_voice(CONFIG).model_copy(update={"start": EMBEDDED})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, voice: VoiceConfig) -> Path:
    folder = tmp_path_factory.mktemp("work")
    begin(folder, voice)
    return folder


def test_what_stays_as_it_is_counts_as_done(work: Path) -> None:
    assert sorted(path.name for path in (work / "done").iterdir()) == sorted(FROZEN)


def test_the_encoders_hear_as_the_served_ones(work: Path, voice: VoiceConfig) -> None:
    reader = load_reader(EMBEDDED, SERVED.llm.speech_codes)
    wav = (0.1 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32)
    with torch.inference_mode():
        log_mel = torch.from_numpy(whisper_log_mel(wav))[None]
        codes = load_encoder(work, voice.tokenizer).codes(log_mel)[0].numpy()
        fbank = torch.from_numpy(kaldi_fbank(wav))[None].float()
        vector = load_speaker_encoder(work, voice.speaker_encoder)(fbank)[0].numpy()
    assert (codes == reader.tokenizer(wav)).mean() > 0.98  # a digit may lie on the edge
    np.testing.assert_allclose(vector, reader.encoder(wav), atol=1e-4)


def test_the_language_model_has_every_weight(work: Path, voice: VoiceConfig) -> None:
    spelling = TextTokens(work / "tokenizer.json").spelling()
    model = SpeechLanguageModel(voice.language_model, spelling)
    model.load_state_dict(torch.load(work / "lm" / START, weights_only=True))
    found, stored = model.upstream_state(), Checkpoint(EMBEDDED / LLM_DIR / WEIGHTS_NAME)
    ids = SERVED.llm
    embedding, head = stored.float32(EMBEDDING), stored.float32(HEAD)[ids.speech_rows]
    bias = stored.float32(HEAD_BIAS)[ids.speech_rows]
    wanted = {
        "llm.model.model.embed_tokens.weight": embedding[: ids.speech_offset],
        "speech_embedding.weight": embedding[ids.speech_rows],
        "llm_embedding.weight": embedding[[ids.sos_id, ids.task_id]],
        "llm_decoder.weight": head,
        "llm_decoder.bias": bias,
    }
    for name in found:
        if name.startswith("llm.model.model.layers.") or name == "llm.model.model.norm.weight":
            wanted[name] = stored.float32(name.removeprefix("llm.model."))
    assert len(wanted) == 5 + 12 * ids.num_hidden_layers + 1
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name].numpy(), values, atol=2e-5, err_msg=name)


def test_the_acoustic_models_begin_as_they_were(work: Path, voice: VoiceConfig) -> None:
    vocoder = torch.load(work / "vocoder" / START, weights_only=True)
    for name, values in load_hift(EMBEDDED, SERVED).state_dict().items():
        if "mix_source" not in name:
            torch.testing.assert_close(vocoder[name], values)
    state = torch.load(work / "flow" / START, weights_only=True)
    network = load_network(EMBEDDED, SERVED).state_dict()
    for name, values in network.items():
        torch.testing.assert_close(state[f"flow.{name}"], values)
    table = FactoredTable(code_features(), voice.flow.model.input_size, 1.0)
    table.load_state_dict({k: state[f"codes.{k}"] for k in ("factors", "residual")})
    torch.testing.assert_close(table(), network["token_embedding.weight"], atol=1e-5, rtol=0)


def test_unfolding_leaves_the_rest_to_the_residual() -> None:
    torch.manual_seed(0)
    table = FactoredTable(code_features(3), 4, 0.5)
    rows = table().detach() + 0.01 * torch.randn(len(table.features), 4)
    unfold(table, rows)
    torch.testing.assert_close(table(), rows, atol=1e-5, rtol=0)
    assert float(table.residual.detach().abs().mean()) < 0.02, (
        "what the features explain is in the factors"
    )


def test_training_begins_there_and_resumes_from_its_own_state(tmp_path: Path) -> None:
    loop = LoopConfig(steps=1, batch=1, learning_rate=1e-9, ema=0.9)
    given = torch.nn.Linear(2, 2)
    torch.save(given.state_dict(), tmp_path / START)
    run = Training(tmp_path, torch.nn.Linear(2, 2), loop)
    torch.testing.assert_close(run.module.weight, given.weight)
    torch.testing.assert_close(run.average.values["weight"], given.weight.detach())
    run.run(lambda _: {"loss": run.module.weight.sum() * 0}, dict)
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / START)
    again = Training(tmp_path, torch.nn.Linear(2, 2), loop)
    torch.testing.assert_close(again.module.weight, given.weight)


def test_without_an_earlier_voice_nothing_is_done(tmp_path: Path, voice: VoiceConfig) -> None:
    begin(tmp_path, voice.model_copy(update={"start": None}))
    assert not list(tmp_path.iterdir())
