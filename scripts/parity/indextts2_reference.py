"""What IndexTTS2 reads of a reference recording against a golden folder of upstream's classes."""

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from parity import ParityResult, close
from parity.golden import Golden
from tritone.acoustic.weights import load_strictly
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.reference_config import (
    SAMPLE_RATE,
    CodecConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.reference_features import prompt_mel, stacked_fbank
from tritone.families.indextts2.released_reference import (
    codec_weights,
    speaker_weights,
    statistics,
    w2v_bert_weights,
)
from tritone.families.indextts2.w2v_bert import W2vBert
from tritone.frontend.audio.features import SPEECH_RATE, kaldi_fbank, kaldi_log_energies
from tritone.frontend.audio.resample import resample

THRESHOLD = 2e-5  # of the largest value, or of 1
FBANK_THRESHOLD = 1e-3  # logarithms near the floor

# our names of what the golden numbers call otherwise
W2V_BERT = {
    "inputs": "feature_projection_input_dim",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "layers": "num_hidden_layers",
    "left": "left_max_position_embeddings",
    "right": "right_max_position_embeddings",
    "kernel": "conv_depthwise_kernel_size",
}
CODEC = {
    "width": "hidden_size",
    "codes": "codebook_size",
    "code_width": "codebook_dim",
    "backbone": "vocos_dim",
    "hidden": "vocos_intermediate_dim",
    "layers": "vocos_num_layers",
}
SPEAKER = {
    "bins": "feat_dim",
    "width": "embedding_size",
    "channels": "init_channels",
    "growth": "growth_rate",
    "bottleneck": "bn_size",
}


def scaled(name: str, ours: Any, golden: Tensor) -> ParityResult:
    return close(name, ours, golden, THRESHOLD * max(1.0, float(golden.abs().max())))


def weights_of(case: Golden) -> dict[str, Tensor]:
    return {k.removeprefix("w."): v for k, v in case.tensors.items() if k.startswith("w.")}


def numbers_of(case: Golden, names: dict[str, str]) -> dict[str, Any]:
    return {ours: case.about["config"][theirs] for ours, theirs in names.items()}


def load_w2v_bert(case: Golden) -> W2vBert:
    config = W2vBertConfig(**numbers_of(case, W2V_BERT))
    state = w2v_bert_weights(weights_of(case), config.layers)
    state |= statistics({"mean": case["stat_mean"], "var": case["stat_var"]})
    network = W2vBert(config).eval()
    load_strictly(network, state, case.name)
    return network


def load_codec(case: Golden) -> SemanticCodec:
    codec = SemanticCodec(CodecConfig(**numbers_of(case, CODEC))).eval()
    load_strictly(codec, codec_weights(weights_of(case)), case.name)
    return codec


def load_speaker_encoder(case: Golden) -> CamPlusPlus:
    weights = weights_of(case)
    planes = len(weights["head.conv1.weight"])
    encoder = CamPlusPlus(SpeakerEncoderConfig(planes=planes, **numbers_of(case, SPEAKER))).eval()
    load_strictly(encoder, speaker_weights(weights), case.name)
    return encoder


def w2v_bert(case: Golden) -> Iterator[ParityResult]:
    network, x = load_w2v_bert(case), case["x"]
    for kind, padding in (("full", 0), ("lastmasked", 1)):
        valid = torch.arange(x.shape[1])[None] < x.shape[1] - padding
        for layer, hidden in enumerate(network.hidden_states(x, valid)):
            name = f"{kind}_hidden{layer}"
            yield scaled(f"w2v_bert, {name}", hidden, case[name])
            if (
                kind == "full"
                and (golden := case.tensors.get(f"normalised_hidden{layer}")) is not None
            ):
                ours = network.normalised(hidden)
                yield scaled(f"w2v_bert, normalised_hidden{layer}", ours, golden)


def semantic_codec(case: Golden) -> Iterator[ParityResult]:
    codec = load_codec(case)
    yield scaled("semantic_codec, encoder_out", codec.encoder(case["x"]), case["encoder_out"])
    for x, ending in (("x", ""), ("xb", "_b")):
        codes, embedded = codec(case[x])
        yield close(f"semantic_codec, indices{ending}", codes, case[f"indices{ending}"], 0.0)
        yield scaled(f"semantic_codec, quantized{ending}", embedded, case[f"quantized{ending}"])
    embedded = codec.code_book.embed(case["codes"])
    yield scaled("semantic_codec, vq2emb", embedded, case["vq2emb"])


def campplus(case: Golden) -> Iterator[ParityResult]:
    encoder = load_speaker_encoder(case)
    for name in sorted(name for name in case.tensors if name.startswith("style")):
        x = case["x" + name.removeprefix("style")]
        yield scaled(f"campplus, {name}", encoder(x), case[name])


def reference_features(case: Golden) -> Iterator[ParityResult]:
    recording, speech = (case[f"audio_{name}"][0].numpy() for name in ("22050", "16000_from_22050"))
    ours = resample(recording, SAMPLE_RATE, SPEECH_RATE)
    yield scaled("features, resampled", ours[None], case["audio_16000_from_22050"])
    yield scaled("features, ref_mel", prompt_mel(recording).T[None], case["ref_mel"])
    energies = kaldi_log_energies(speech)
    yield close("features, fbank_raw", energies, case["fbank_raw"], FBANK_THRESHOLD)
    golden = case["fbank_minus_mean"]
    yield close("features, fbank_minus_mean", kaldi_fbank(speech), golden, FBANK_THRESHOLD)
    for kind in ("even", "odd"):
        samples = case.about["meta"][f"w2v_{kind}_samples"]
        values, valid = stacked_fbank(speech[:samples])
        yield scaled(f"features, w2v_{kind}", values[None], case[f"w2v_{kind}_features"])
        yield close(f"features, w2v_{kind}_mask", valid[None], case[f"w2v_{kind}_mask"], 0.0)
    yield from _other_resampler(case)


def _other_resampler(case: Golden) -> Iterator[ParityResult]:
    """Upstream reads files with another filter; ours is the one that it has for the rest."""
    source = re.compile(r"soft_librosa_(\d+)_to_(\d+)")
    for name, golden in case.tensors.items():
        if rates := source.fullmatch(name):
            old, new = map(int, rates.groups())
            ours = resample(case[f"soft_audio_{old}"].numpy(), old, new)
            yield close(f"features, {name}", ours, golden, math.inf)


CASES = {case.__name__: case for case in (w2v_bert, semantic_codec, campplus, reference_features)}
