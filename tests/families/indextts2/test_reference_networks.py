"""What reads a reference recording: lengths, padding, ties."""

import numpy as np
import pytest
import torch
from indextts2_front import golden
from parity.indextts2_reference import load_codec, load_speaker_encoder, load_w2v_bert

from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.reference import ReferenceReader
from tritone.families.indextts2.reference_config import (
    STACKED,
    CodecConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.reference_features import stacked_fbank
from tritone.families.indextts2.w2v_bert import W2vBert


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize("samples", [560, 719, 720, 721, 8000])
def test_two_frames_are_a_row(samples: int) -> None:
    values, valid = stacked_fbank(noise(samples))
    frames = 1 + (samples - 400) // 160
    assert values.shape == (-(-frames // STACKED), 160) and len(valid) == len(values)
    assert valid[:-1].all() and valid[-1] == (frames % STACKED == 0)
    if not valid[-1]:
        assert (values[-1, 80:] == 1.0).all()


def test_loudness_leaves_no_trace() -> None:
    """Each bin is normalised over the recording."""
    wav = noise(4000)
    quiet, loud = (stacked_fbank(wav * np.float32(gain)).values for gain in (0.1, 1.0))
    assert np.abs(quiet - loud).max() < 1e-3


def test_padding_is_seen_by_no_other_frame() -> None:
    case = golden("w2v_bert")
    network = load_w2v_bert(case)
    x = torch.cat([case["x"], 9 * torch.ones(1, 4, case["x"].shape[2])], dim=1)
    valid = torch.arange(x.shape[1])[None] < x.shape[1] - 4
    with torch.inference_mode():
        padded, alone = network(x, valid)[:, :-4], network(case["x"], valid[:, :-4])
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


def test_fewer_layers_are_the_first_ones() -> None:
    case = golden("w2v_bert")
    numbers = {**case.about["config"], "num_hidden_layers": 2}
    case.__dict__["about"] = {**case.about, "config": numbers}
    valid = torch.ones(1, case["x"].shape[1], dtype=torch.bool)
    with torch.inference_mode():
        found = load_w2v_bert(case)(case["x"], valid)
    torch.testing.assert_close(found, case["normalised_hidden2"], atol=1e-4, rtol=1e-5)


def test_of_equally_similar_codes_the_first_is_taken() -> None:
    codec = load_codec(golden("semantic_codec"))
    rows = codec.code_book.rows.data
    rows[7], rows[3] = 2 * rows[5], 5 * rows[5]
    with torch.inference_mode():
        direction = torch.linalg.lstsq(codec.code_book.project.weight, rows[5, :, None]).solution
        offset = torch.linalg.lstsq(
            codec.code_book.project.weight, codec.code_book.project.bias[:, None]
        ).solution
        assert int(codec.code_book.codes((direction - offset)[None, None, :, 0])) in (3, 5, 7)


@pytest.mark.parametrize("frames", [11, 200, 201])
def test_a_speaker_is_heard_in_recordings_of_any_length(frames: int) -> None:
    """Segments of 100 frames, of half as many as come in, may be whole or not."""
    encoder = load_speaker_encoder(golden("campplus"))
    x = torch.randn(1, frames, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        style = encoder(x)
        assert style.shape == (1, 10) and style.isfinite().all()
        assert (encoder(x.flip(1)) - style).abs().max() > 1e-4


@pytest.fixture(scope="module")
def reader() -> ReferenceReader:
    """Small, of random weights, for features of the size that they have."""
    torch.manual_seed(4)
    sizes = {"width": 24, "hidden": 40, "layers": 1}
    return ReferenceReader(
        W2vBert(W2vBertConfig(heads=4, **sizes)).eval(),
        SemanticCodec(CodecConfig(codes=32, code_width=4, backbone=16, **sizes)).eval(),
        CamPlusPlus(SpeakerEncoderConfig(width=10, planes=4, channels=16, growth=4)).eval(),
    )


@pytest.mark.parametrize(
    ("seconds", "rate", "read"), [(0.3, 16000, 0.3), (1.25, 44100, 1.25), (16, 8000, 15)]
)
def test_a_recording_is_read_to_its_end_or_for_15_seconds(
    reader: ReferenceReader, seconds: float, rate: int, read: float
) -> None:
    reference = reader.speaker(noise(int(seconds * rate)), rate)
    assert len(reference.mel) == int(read * 22050) // 256
    frames = 1 + (round(read * 16000) - 400) // 160
    rows = -(-frames // STACKED)
    assert reference.condition.shape == (rows, 24)
    assert reference.codes.shape == (rows,) and reference.codes.dtype == np.int32
    assert reference.style.shape == (10,)
    assert all(np.isfinite(value).all() for value in vars(reference).values())


def test_an_emotion_is_read_as_a_speaker_is(reader: ReferenceReader) -> None:
    """But for the rate that the recording is brought to on the way."""
    wav = noise(16000)
    of_emotion, of_speaker = reader.emotion(wav, 22050), reader.speaker(wav, 22050).condition
    assert np.abs(of_emotion - of_speaker).max() < 1e-3
