"""CosyVoice3's training: grouped codes, its networks, and the way to a model directory."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from paths import EMBEDDED
from trained_cosyvoice3 import CODES, cosyvoice3_work
from trained_work import CONFIG

import tritone
from training import cosyvoice3_lm, train_flow, train_vocoder
from training.codebook import CodeBook
from training.config import VoiceConfig, read_voice
from training.cosyvoice3_lm import CosyVoice3Training, first_model, lead_ids, load_language_model
from training.dataset import WHISPER_PER_TOKEN, Track
from training.export_cosyvoice3 import export
from training.fsq import CODES as ALL_CODES
from training.fsq import DIGITS, digits_of
from training.sequences import Example, collate, plain
from training.start import language_model
from training.text_tokens import TextTokens
from training.train_causal_vocoder import SETTLING, CausalTraining, load_causal
from training.train_dit import _trained_dit, load_dit
from training.train_flow import FlowTraining
from tritone.checkpoints.conversion import ConvertOptions
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice3.acoustics import load_hift, load_network
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.convert import Conversion
from tritone.families.cosyvoice3.frontend import CosyVoice3Frontend
from tritone.families.cosyvoice3.merge_llm import SOS, STOP_IDS, TASK
from tritone.families.cosyvoice3.released_files import LAYOUT
from tritone.families.cosyvoice3.rules import SILENT
from tritone.families.cosyvoice3.vocoder import Vocoder
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.onnx.slots import OnnxSlots
from tritone.synthesis.values import SynthesisRequest

pytestmark = pytest.mark.slow

HALF = 2**-10  # what storing weights in float16 may change, relative


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VoiceConfig]:
    return cosyvoice3_work(tmp_path_factory)


@pytest.fixture(scope="module")
def work(made: tuple[Path, VoiceConfig]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def voice(made: tuple[Path, VoiceConfig]) -> VoiceConfig:
    return made[1]


@pytest.fixture(scope="module")
def checkpoint(work: Path, voice: VoiceConfig) -> Path:
    return export(work, voice, work / "checkpoint")


@pytest.fixture(scope="module")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "model"
    source = open_source(checkpoint, None, LAYOUT)
    Conversion(source, target, ConvertOptions(graphs=("fp32",))).run()
    return target


@pytest.fixture(scope="module")
def config(converted: Path) -> CosyVoice3Config:
    return CosyVoice3Config.read(converted)


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_a_code_is_the_nearest_centre_and_the_quietest_are_silent() -> None:
    values = torch.rand(3000, DIGITS, generator=torch.Generator().manual_seed(0)) * 2 - 1
    level = values[:, 0].numpy()  # loud where the first digit is high
    book = CodeBook.found(values, level, 60)
    codes = book.assign(values)
    distance = torch.cdist(values, book.centres)
    assert torch.equal(codes, distance.argmin(dim=1))
    assert float(distance.min(dim=1).values.mean()) < 0.7 * float(distance.mean())
    silent = SILENT[SILENT < 60]
    means = np.array([level[codes.numpy() == code].mean() for code in range(60)])
    others = np.setdiff1d(np.arange(60), silent)
    assert means[silent].max() < means[others].min() + 0.1
    assert len(silent) == 5


def test_codes_are_grouped_and_so_are_those_of_the_exported_tokenizer(
    work: Path, converted: Path
) -> None:
    path = converted / "speech_tokenizer.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    track, agreed = Track(work, "heart"), 0
    for begin, end in zip(track.starts[:-1], track.starts[1:], strict=True):
        crop = track.whisper[begin * WHISPER_PER_TOKEN : end * WHISPER_PER_TOKEN]
        feats = np.ascontiguousarray(crop.astype(np.float32).T[None])
        length = np.array([feats.shape[2]], np.int32)
        (codes,) = session.run(None, {"feats": feats, "feats_length": length})
        agreed += int((codes[0] == track.codes[begin:end]).sum())
    assert len(np.unique(track.codes)) > 10 and track.codes.max() < CODES
    assert agreed > 0.9 * track.tokens


def test_every_size_comes_back_from_the_yaml(voice: VoiceConfig, config: CosyVoice3Config) -> None:
    assert config.flow == voice.flow.model
    assert config.vocoder == voice.vocoder.model
    llm = config.llm
    assert (llm.speech_codes, len(llm.stop_ids), config.default_voice) == (CODES, 200, "heart")
    assert (config.text.pronunciation, config.text.instruct_end) == ("hibari", "<|endofprompt|>")
    assert config.sampling.top_k == 1


@torch.no_grad()
def test_weights_survive_the_round_trip(
    work: Path, voice: VoiceConfig, converted: Path, config: CosyVoice3Config
) -> None:
    trained, served = load_dit(work, voice), load_network(converted, config).state_dict()
    assert all(torch.equal(served[k], v.half().float()) for k, v in trained.state_dict().items())
    for name in ("flow.safetensors", "vocoder.safetensors"):
        file = Checkpoint(converted / name)
        assert {file.spec(key).dtype for key in file} == {"F16"}


@torch.no_grad()
def test_the_vocoder_that_is_served_is_the_one_that_was_trained(
    work: Path, voice: VoiceConfig, converted: Path, config: CosyVoice3Config
) -> None:
    """With the zeros after the end that a stream has."""
    mel = torch.randn(80, 30, generator=torch.Generator().manual_seed(0))

    def noise(_first: int, count: int) -> torch.Tensor:
        return torch.full((count, 9), 0.5)

    vocoder = Vocoder(load_hift(converted, config), config.sample_rate, noise)
    found = vocoder(mel)
    network = load_causal(work, voice)
    padded = torch.nn.functional.pad(mel, (0, network.look_right))[None]
    f0 = network.pitch(padded)
    source, _ = Vocoder(network, 24000, noise).source(f0[0].float(), 0, torch.zeros(9).double())
    wanted = network.decode(padded, source[None])[0]
    assert found.shape == wanted.shape == (30 * 480,)
    assert relative(found, wanted) < 0.02


@torch.no_grad()
def test_language_model_gives_the_same_logits(
    work: Path, voice: VoiceConfig, converted: Path, config: CosyVoice3Config
) -> None:
    model, llm = load_language_model(work, voice), config.llm
    model.bias_along.normal_(generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    text, codes = rng.integers(0, llm.speech_offset, 9), rng.integers(0, CODES, 12)
    order = CosyVoice3Training(work, voice).examples._order
    assert (order.end, order.fill) == (CODES + 1, CODES + 3)
    example = Example(text, np.zeros(12, np.int64), codes, silent=0)
    wanted = model.scores(collate([plain(example, order)]))
    state = model.upstream_state()
    head, table = state["llm_decoder.weight"], state["speech_embedding.weight"]
    assert head.shape == table.shape == (CODES + STOP_IDS, llm.hidden_size)
    assert "llm_decoder.bias" not in state
    assert torch.equal(table[[CODES + SOS, CODES + TASK]], model.marks)
    x, _ = model._run(collate([plain(example, order)]), guided=False)
    last = model.norm(x[0, -1])
    torch.testing.assert_close(head @ last, wanted[-1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_served_language_model_is_the_trained_one(
    work: Path, voice: VoiceConfig, converted: Path, config: CosyVoice3Config
) -> None:
    model, llm = load_language_model(work, voice), config.llm
    order = CosyVoice3Training(work, voice).examples._order
    text, codes = np.arange(5), np.arange(6)
    example = Example(text, np.zeros(6, np.int64), codes, silent=0)
    wanted = model.scores(collate([plain(example, order)]))[-1]
    frontend = CosyVoice3Frontend(converted, config)
    (segment,) = frontend.prepare(SynthesisRequest(text="the cat sat."))
    assert segment.prompt.ids is not None
    lead = lead_ids(work)
    assert segment.prompt.ids[: len(lead) + 1].tolist() == [llm.sos_id, *lead]
    ids = [llm.sos_id, *lead, *text, llm.task_id, *(codes + llm.speech_offset)]
    embeds = EmbeddingTable(Checkpoint(converted / "llm" / "model.safetensors"))(
        np.array(ids, np.int32)
    )
    session = OnnxSlots(converted / "llm", llm, precision="fp32", slots=1, slot_length=64)
    found = torch.from_numpy(session.prefill(0, embeds))
    assert relative(found, wanted) < 4 * HALF


def test_the_model_directory_speaks(converted: Path) -> None:
    hum = 0.1 * np.sin(np.arange(24000) * 0.05).astype(np.float32)
    cloned = {"reference_wav": hum, "reference_rate": 24000, "reference_text": "the cat sat."}
    options: list[dict[str, Any]] = [{}, cloned, {"instruct_text": "Be kind."}]
    with tritone.load(converted, language_model={"precision": "fp32"}) as tts:
        for option in options:
            wave = tts.synthesize("the cat sat on the mat.", **option)
            assert len(wave) > 2400 and np.isfinite(wave).all()


def falls(step: Any, parameters: Any, rate: float) -> list[float]:
    """The loss over ten steps on one batch."""
    optimizer, found = torch.optim.AdamW(parameters, lr=rate), []
    for _ in range(10):
        torch.manual_seed(1)
        loss = step()["loss"]
        found.append(float(loss.detach()))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return found


def test_a_few_steps_lower_the_flow_s_loss(
    work: Path, voice: VoiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_flow, "HELD_OUT", 100)
    run = FlowTraining(work, voice, _trained_dit)
    rows = [(0, 5), (0, 40)]
    found = falls(lambda: run._losses(rows, encoder_only=False), run.model.parameters(), 0.01)
    assert found[-1] < 0.9 * found[0]


def test_a_few_steps_lower_the_vocoder_s_loss(
    work: Path, voice: VoiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_vocoder, "HELD_OUT", 40)
    run = CausalTraining(work, voice)
    batch = run._batch(0)
    assert batch.mel.shape[2] == batch.f0.shape[1] + 4
    found = falls(lambda: run._losses(batch), run.model.parameters(), 0.0005)
    assert found[-1] < 0.95 * found[0]
    assert voice.vocoder.frames > SETTLING


def test_the_language_model_begins_as_the_one_before(
    work: Path, voice: VoiceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a group for every code and all units it is the same, but for the head's bias."""
    sizes = read_voice(CONFIG).language_model
    same = voice.model_copy(update={"start": EMBEDDED, "language_model": sizes})
    monkeypatch.setattr(CodeBook, "read", classmethod(lambda cls, _work: cls(every_code())))
    for name in ("speech", "tokenizer"):
        (tmp_path / name).symlink_to(work / name)
    (tmp_path / "tokenizer.json").write_bytes((EMBEDDED / "tokenizer.json").read_bytes())
    cosyvoice3_lm.add_tokens(tmp_path / "tokenizer.json")
    model = first_model(tmp_path, same)
    spelling = TextTokens(EMBEDDED / "tokenizer.json").spelling()
    old = language_model(same, spelling, EMBEDDED, CosyVoice2Config.read(EMBEDDED))
    with torch.no_grad():
        torch.testing.assert_close(
            model.speech()[:ALL_CODES], old.speech()[:ALL_CODES], rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(
            model.head_bias[:ALL_CODES], old.head_bias[:ALL_CODES], rtol=1e-4, atol=1e-4
        )
        assert torch.equal(model.text()[: len(spelling)], old.text())
        assert not model.text()[len(spelling) :].any()
    few = same.model_copy(
        update={"language_model": sizes.model_copy(update={"intermediate_size": 64})}
    )
    thin = first_model(tmp_path, few).layers[0]
    assert thin.down_proj.weight.shape == (192, 64)
    kept = {tuple(row) for row in thin.up_proj.weight.tolist()}
    assert kept <= {tuple(row) for row in old.layers[0].up_proj.weight.tolist()}


def every_code() -> torch.Tensor:
    return digits_of(torch.arange(ALL_CODES)).float() - 1
