"""Networks that are read in place are those that were drawn and then overwritten, bit for bit."""

import gc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_whole_release import whole_release
from paths import COSYVOICE3, EMBEDDED
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tritone.acoustic import weights
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.weights import load_network
from tritone.arrays import Float32
from tritone.checkpoints.conversion import ConvertOptions
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families import Model, open_model
from tritone.families.indextts2 import frontend, gpt_torch, voice_reader
from tritone.families.indextts2.convert import Conversion
from tritone.families.indextts2.gpt_torch import open_gpt_torch
from tritone.families.indextts2.self_check import buzz
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.llm.contract import GenerationRequest, Increment, SamplingParams
from tritone.synthesis.values import SynthesisRequest

Outputs = list[Float32]
Loaded = Callable[[], Outputs]


@contextmanager
def unread_memory_is_nan() -> Iterator[None]:
    """What nothing was read into shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def indextts2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indextts2")
    release = whole_release(folder / "release")
    Conversion(release, folder / "model", ConvertOptions()).run()
    return folder / "model"


def drawn_and_copied(build: Callable[[], nn.Module], path: Path) -> nn.Module:
    module = build()
    module.load_state_dict(load_file(path))
    return module.eval()


def sound(model: Model) -> Loaded:
    """Of flow and vocoder."""
    flow = model.family.load_flow(model.folder, model.config, FlowSettings())
    vocoder = model.family.load_vocoder(model.folder, model.config, VocoderSettings())

    def outputs() -> Outputs:
        voice, increment = flow.flow.example()
        frames = flow.whole(increment, voice)
        wave, _ = vocoder.step(frames, vocoder.start(seed=0, speed=1.0), finalize=True)
        return [frames, wave]

    return outputs


def prompt_and_codes(model: Model) -> Loaded:
    """Of what reads recordings and text, and of the language model."""
    reader = frontend.IndexTTS2Frontend(model.folder, model.config)
    options = {"device": "cpu", "dtype": "fp32"}
    language_model = open_gpt_torch(model.folder, model.config, slots=1, **options)

    def outputs() -> Outputs:
        request = SynthesisRequest("Tritone.", reference_wav=buzz(), reference_rate=SPEECH_RATE)
        (segment,) = reader.prepare(request)
        order = GenerationRequest(segment.prompt, 8, 8, SamplingParams(top_k=1))
        with closing(language_model):
            said = Increment.joined(list(language_model.submit(order)))
        rows = np.asarray(segment.prompt.embeddings)
        return [rows, said.latents, *segment.voice.to_arrays().values()]

    return outputs


def same(load: Callable[[Model], Loaded], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_model(folder)
    with unread_memory_is_nan():
        read = load(model)
    for module in (weights, frontend, voice_reader, gpt_torch):
        monkeypatch.setattr(module, "load_network", drawn_and_copied)
    for ours, theirs in zip(read(), load(model)(), strict=True):
        assert np.isfinite(ours).all() and np.array_equal(ours, theirs)


@pytest.mark.parametrize("folder", [EMBEDDED, COSYVOICE3], ids=lambda folder: folder.name)
def test_the_sound_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same(sound, folder, monkeypatch)


def test_the_sound_of_windows_is_the_same(indextts2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same(sound, indextts2, monkeypatch)


def test_voice_prompt_and_codes_are_the_same(
    indextts2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same(prompt_and_codes, indextts2, monkeypatch)


class Table(nn.Module):
    """With what the file has and what it has not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("window", torch.hann_window(4, device="cpu"), persistent=False)
        self.register_buffer("mean", torch.zeros(2))
        self.scale = nn.Parameter(torch.ones(()))


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    state = {name: torch.randn(value.shape) for name, value in Table().state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors", state


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_any_stored_precision_is_read(
    table: tuple[Path, dict[str, Tensor]], dtype: torch.dtype
) -> None:
    path, state = table
    stored = {name: value.to(dtype) for name, value in state.items()}
    save_file(stored, path)
    network = load_network(Table, path)
    assert not network.training
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, stored[name].float())
    assert torch.equal(network.window, torch.hann_window(4))


def test_other_numbers_are_refused(table: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = table
    save_file({**state, "mean": torch.zeros(2, dtype=torch.int64)}, path)
    with pytest.raises(ModelDirectoryError, match=r"a\.safetensors: mean is I64, not a float"):
        load_network(Table, path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_one_value_that_is_none_is_found(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    state = {"weight": torch.randn(70, 1000).to(dtype), "bias": torch.zeros(70, dtype=dtype)}
    state["weight"][33, 777] = value
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelDirectoryError, match="weight has values that are NaN or infinite"):
        load_network(lambda: nn.Linear(1000, 70), tmp_path / "a.safetensors")


def test_nothing_is_drawn(table: tuple[Path, dict[str, Tensor]]) -> None:
    before = torch.random.get_rng_state()
    load_network(Table, table[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_file_is_free_once_it_is_read(table: tuple[Path, dict[str, Tensor]]) -> None:
    """Neither mapped nor open: cut short in place it ends nobody."""
    path, state = table
    network = load_network(Table, path)
    gc.collect()
    assert path.name not in Path("/proc/self/maps").read_text()
    path.write_bytes(b"")
    assert torch.equal(network.linear.weight, state["linear.weight"])


def test_a_file_that_is_cut_short_meanwhile_is_named(table: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = table
    file = Checkpoint(path)
    path.write_bytes(path.read_bytes()[:-4])
    memory = np.zeros(24, np.uint8)
    *_, last = sorted(file, key=lambda name: file.spec(name).nbytes)
    assert file.spec(last).nbytes == 24
    file.read(last, memory)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelDirectoryError, match=f"was cut short while {last} was read"):
        file.read(last, memory)
