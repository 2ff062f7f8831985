"""What a stream keeps of its past where nobody says: it stops growing, and then differs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import small_cosyvoice3

from benchmarks.random_model import write_model
from benchmarks.streams import some_prompt
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings
from tritone.arrays import Float32
from tritone.families.cosyvoice3.acoustics import LEFT_CHUNKS, load_flow
from tritone.llm.contract import Increment

CONFIG = small_cosyvoice3()
CHUNK, AHEAD = CONFIG.flow.chunk_size, CONFIG.flow.pre_lookahead_len
CHUNKS = LEFT_CHUNKS + 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    write_model(folder, CONFIG)
    return folder


def stage(model: Path, left_chunks: int | None) -> FlowStage:
    return load_flow(model, CONFIG, FlowSettings(left_chunks, dtype=torch.float32))


def spoken(flow: FlowStage) -> tuple[Float32, list[int]]:
    """Frames (bins, n) of a stream after a prompt of one chunk, and its bytes after each chunk."""
    codes = np.random.default_rng(1).integers(0, 6561, CHUNKS * CHUNK + AHEAD).astype(np.int32)
    state, position, mels, sizes = flow.open(some_prompt(CONFIG, CHUNK + AHEAD)[1]), 0, [], []
    for chunk in range(1, CHUNKS + 1):
        mel, state = flow.step(
            Increment(codes[position : chunk * CHUNK]), state, finalize=chunk == CHUNKS
        )
        position = chunk * CHUNK
        mels.append(mel)
        sizes.append(state.nbytes)
    return np.concatenate(mels, axis=1), sizes


def test_a_stream_stops_growing(model: Path) -> None:
    part = CONFIG.flow.estimator
    frame = 2 * 2 * part.heads * part.dim_head * 4  # keys and values, guided and not, float32
    layers = CONFIG.flow.solver.n_timesteps * part.depth
    chunk = layers * frame * CHUNK * CONFIG.flow.token_mel_ratio
    _, sizes = spoken(stage(model, None))
    assert max(sizes) == (LEFT_CHUNKS + 1) * chunk
    _, unbounded = spoken(stage(model, 0))
    assert unbounded[-1] >= CHUNKS * chunk


def test_speech_that_it_holds_is_as_if_unbounded(model: Path) -> None:
    bounded, _ = spoken(stage(model, None))
    exact, _ = spoken(stage(model, 0))
    own = (LEFT_CHUNKS + 1) * CHUNK - AHEAD  # the first of these chunks has the prompt's rest
    held = own * CONFIG.flow.token_mel_ratio
    assert np.abs(bounded[:, :held] - exact[:, :held]).max() < 1e-4
    assert np.abs(bounded[:, held:] - exact[:, held:]).max() > 1e-4
