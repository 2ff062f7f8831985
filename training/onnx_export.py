"""The speech tokenizer and the speaker encoder as the two ONNX files of a released checkpoint.

Names, ranks and types of inputs and outputs are those of upstream's files, so that whatever reads
those reads these. Time is dynamic in both.
"""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from training.codebook import CodeBook
from training.fsq import BOUND, DIGITS, LEVELS
from training.onnx_graph import FLOAT, INT32, INT64, Graph
from training.speaker_encoder import VARIANCE_FLOOR, SpeakerEncoder
from training.speech_tokenizer import SpeechEncoder, WindowBlock


def write_speech_tokenizer(
    encoder: SpeechEncoder, path: Path, book: CodeBook | None = None
) -> None:
    """speech_tokenizer_v2.onnx: feats (1, 128, T), feats_length (1,) -> indices (1, tokens) int32.

    book: the groups of codes, where they are grouped. Frames from feats_length on are not read;
    tokens = ceil(ceil(length / 2) / 2).
    """
    graph = Graph("speech_tokenizer")
    bins = encoder.input.in_channels
    feats = graph.input("feats", FLOAT, [1, bins, "time"])
    length = graph.node("Cast", graph.input("feats_length", INT32, [1]), to=INT64)
    x = graph.node("Slice", feats, graph.integers(0), length, graph.integers(2))
    x = graph.node("Gelu", _conv(graph, x, encoder.input))
    x = _blocks(graph, graph.swap(x), encoder.at_frames)
    x = graph.swap(_conv(graph, graph.swap(x), encoder.down))
    x = graph.layer_norm(_blocks(graph, x, encoder.at_tokens), encoder.norm)
    x = graph.swap(graph.conv(graph.swap(x), _pointwise(encoder.output), encoder.output.bias))
    bounded = graph.node("Mul", graph.node("Tanh", x), graph.constant(np.float32(BOUND)))
    codes = _digit_codes(graph, bounded) if book is None else _grouped_codes(graph, bounded, book)
    graph.output(codes, "indices", INT32, [1, "token_time"])
    graph.save(path)


def write_speaker_encoder(encoder: SpeakerEncoder, path: Path) -> None:
    """campplus.onnx: input (rows, frames, 80) -> output (rows, embedding)."""
    graph = Graph("speaker_encoder")
    x = graph.input("input", FLOAT, ["batch_size", "frame_num", _first(encoder).in_channels])
    for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
        assert isinstance(conv, nn.Conv1d) and isinstance(norm, nn.LayerNorm)
        x = graph.swap(_conv(graph, graph.swap(x), conv))
        x = graph.node("Relu", graph.layer_norm(x, norm))
    time = graph.integers(1)
    mean = graph.node("ReduceMean", x, time, keepdims=1)
    centred = graph.node("Sub", x, mean)
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), time, keepdims=0)
    floor = graph.constant(np.float32(VARIANCE_FLOOR))
    deviation = graph.node("Sqrt", graph.node("Add", variance, floor))
    pooled = graph.node("Concat", graph.node("Squeeze", mean, time), deviation, axis=1)
    size = encoder.output.out_features
    graph.output(graph.linear(pooled, encoder.output), "output", FLOAT, ["batch_size", size])
    graph.save(path)


def _first(encoder: SpeakerEncoder) -> nn.Conv1d:
    first = encoder.convs[0]
    assert isinstance(first, nn.Conv1d)
    return first


def _conv(graph: Graph, x: str, conv: nn.Conv1d) -> str:
    assert conv.bias is not None and isinstance(conv.padding, tuple)
    return graph.conv(
        x,
        conv.weight,
        conv.bias,
        strides=list(conv.stride),
        pads=2 * list(conv.padding),
        dilations=list(conv.dilation),
    )


def _blocks(graph: Graph, x: str, blocks: nn.Sequential) -> str:
    """Window blocks over x (1, frames, width), their matrices as convolutions over frames."""
    for block in blocks:
        assert isinstance(block, WindowBlock)
        taps = block.WINDOW
        window = block.expand.weight.view(block.expand.out_features, taps, -1).transpose(1, 2)
        y = graph.swap(graph.layer_norm(x, block.norm))
        y = graph.node("Gelu", graph.conv(y, window, block.expand.bias, pads=2 * [taps // 2]))
        y = graph.conv(y, _pointwise(block.contract), block.contract.bias)
        x = graph.node("Add", x, graph.swap(y))
    return x


def _pointwise(layer: nn.Linear) -> Tensor:
    """The weight of a convolution with one tap."""
    return layer.weight[..., None]


def _digit_codes(graph: Graph, bounded: str) -> str:
    """(1, tokens, 8) values between -1 and 1 -> (1, tokens) int32 codes, as `fsq.codes_of`."""
    digits = graph.node("Add", graph.node("Round", bounded), graph.constant(np.float32(1)))
    powers = graph.constant((LEVELS ** np.arange(DIGITS)).astype(np.float32))
    weighted = graph.node("Mul", digits, powers)
    codes = graph.node("ReduceSum", weighted, graph.integers(2), keepdims=0)
    return graph.node("Cast", codes, to=INT32)


def _grouped_codes(graph: Graph, bounded: str, book: CodeBook) -> str:
    """The same by `CodeBook.assign`."""
    centres = book.centres.numpy()
    products = graph.node("MatMul", bounded, graph.constant(2 * centres.T))
    scores = graph.node("Sub", products, graph.constant((centres**2).sum(axis=1)))
    return graph.node("Cast", graph.node("ArgMax", scores, axis=2, keepdims=0), to=INT32)
