"""The released IndexTTS2 before the flow, by the names and shapes of its tensors."""

from collections.abc import Callable, Mapping

import pytest
import torch
from released_checkpoint import released_shapes
from torch import Tensor, nn

from tritone.acoustic.attention import sinusoid
from tritone.acoustic.weights import check_fit, outline
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.reference_config import (
    CodecConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.released_gpt import (
    UNUSED,
    conditioning_weights,
    decoder_weights,
    prompter_weights,
)
from tritone.families.indextts2.released_reference import (
    codec_weights,
    speaker_weights,
    statistics,
    unused_of_codec,
    unused_of_w2v_bert,
    w2v_bert_weights,
)
from tritone.families.indextts2.w2v_bert import W2vBert

Weights = dict[str, Tensor]
LAYERS = W2vBertConfig().layers
STATISTICS = {"mean": torch.zeros(1024), "var": torch.full((1024,), 4.0)}
PLACES = "conditioning_encoder.embed.pos_enc.pe"


def w2v_bert(state: Mapping[str, Tensor]) -> Weights:
    return w2v_bert_weights(state, LAYERS) | statistics(STATISTICS)


class Parts(nn.Module):
    """Of the language model, which are apart in a model directory."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.decoder, self.prompter = Gpt(config), Prompter(config)
        self.conditioning = Conditioning(config)


def in_parts(state: Mapping[str, Tensor]) -> Weights:
    parts = {
        "decoder": decoder_weights(state),
        "prompter": prompter_weights(state),
        "conditioning": conditioning_weights(state),
    }
    return {f"{part}.{k}": v for part, weights in parts.items() for k, v in weights.items()}


# list of keys: network, and the release under our names
RELEASED: dict[str, tuple[Callable[[], nn.Module], Callable[[Mapping[str, Tensor]], Weights]]] = {
    "gpt": (lambda: Parts(GptConfig()), in_parts),
    "w2v_bert": (lambda: W2vBert(W2vBertConfig()), w2v_bert),
    "codec": (lambda: SemanticCodec(CodecConfig()), codec_weights),
    "speaker": (lambda: CamPlusPlus(SpeakerEncoderConfig()), speaker_weights),
}


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_tensor_has_its_place(name: str) -> None:
    build, convert = RELEASED[name]
    network = outline(build, name)
    check_fit(network, convert(released_shapes(f"indextts2_{name}_keys.tsv")), name)


def values(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def test_what_is_left_out_is_named() -> None:
    """The rest of the files is all in the networks, value by value."""
    gpt = released_shapes("indextts2_gpt_keys.tsv")
    left_out = {k: v for k, v in gpt.items() if k in UNUSED or k.endswith(PLACES)}
    assert len(gpt) == 665 and len(left_out) == 4
    assert values(gpt) - values(left_out) == values(in_parts(gpt))
    bert = released_shapes("indextts2_w2v_bert_keys.tsv")
    left_out = {k: v for k, v in bert.items() if unused_of_w2v_bert(k, LAYERS)}
    assert values(bert) - values(left_out) == values(w2v_bert_weights(bert, LAYERS)) == 411_230_080
    codec = released_shapes("indextts2_codec_keys.tsv")
    left_out = {k: v for k, v in codec.items() if unused_of_codec(k)}
    norms = values({k: v for k, v in codec.items() if k.endswith("_g")})
    assert values(codec) - values(left_out) - norms == values(codec_weights(codec))


@pytest.mark.parametrize(
    ("name", "key", "problem"),
    [
        (
            "gpt",
            "gpt.h.23.attn.c_attn.weight",
            "lacks decoder.blocks.23.query_key_value.weight [3840,",
        ),
        ("gpt", "final_norm.bias", "lacks decoder.final_norm.bias [1280]"),
        ("w2v_bert", "encoder.layers.16.self_attn.linear_k.bias", "layers.16.attention"),
        ("codec", "quantizer.quantizers.0.codebook.weight", "lacks code_book.rows [8192, 8]"),
        ("speaker", "xvector.block3.tdnnd16.linear1.weight", "blocks.2.layers.15.reduce.weight"),
        ("speaker", "head.bn1.running_var", "lacks image.input.bias [32]"),
    ],
)
def test_what_is_missing_is_named(name: str, key: str, problem: str) -> None:
    build, convert = RELEASED[name]
    state = released_shapes(f"indextts2_{name}_keys.tsv")
    del state[key]
    with pytest.raises(ModelDirectoryError) as refused:
        check_fit(outline(build, name), convert(state), name)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("name", "key", "shape", "problem"),
    [
        (
            "gpt",
            "gpt.ln_f.bias",
            [1280],
            "has decoder.norm.bias [3] where the configuration wants [1280]",
        ),
        ("gpt", "mel_head.weight", [8194, 1280], "wants [8194, 1280]"),
        ("w2v_bert", "encoder.layers.3.ffn1_layer_norm.bias", [1024], "has layers.3.before.norm"),
        ("w2v_bert", "encoder.layers.3.self_attn.linear_q.bias", [1024], "query_key_value.bias ["),
        ("codec", "encoder.0.convnext.4.gamma", [384], "has encoder.blocks.4.scale [3]"),
        ("speaker", "xvector.dense.nonlinear.batchnorm.running_mean", [192], "lacks output.bias"),
        ("speaker", "xvector.transit1.nonlinear.batchnorm.bias", [512], "lacks blocks.0.before.s"),
    ],
)
def test_what_is_misshapen_is_named(name: str, key: str, shape: list[int], problem: str) -> None:
    build, convert = RELEASED[name]
    state = released_shapes(f"indextts2_{name}_keys.tsv")
    assert list(state[key].shape) == shape
    state[key] = torch.empty(3, device="meta")
    with pytest.raises(ModelDirectoryError) as refused:
        check_fit(outline(build, name), convert(state), name)
    assert problem in str(refused.value)


@pytest.mark.parametrize("name", RELEASED)
def test_what_is_unexpected_is_named(name: str) -> None:
    build, convert = RELEASED[name]
    state = released_shapes(f"indextts2_{name}_keys.tsv")
    state["stranger.weight"] = torch.empty(3, device="meta")
    with pytest.raises(ModelDirectoryError, match=r"the unknown (conditioning\.)?stranger\.weight"):
        check_fit(outline(build, name), convert(state), name)


def test_half_a_weight_norm_is_refused() -> None:
    state = released_shapes("indextts2_codec_keys.tsv")
    del state["quantizer.quantizers.0.in_project.weight_g"]
    with pytest.raises(
        ModelDirectoryError, match=r"in_project.weight needs a magnitude of \[8, 1, 1\]"
    ):
        codec_weights(state)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"mean": torch.zeros(4)}, "lacks var"),
        ({"mean": torch.zeros(4), "var": torch.zeros(4)}, "0"),
    ],
)
def test_statistics_that_cannot_be_are_refused(changed: Weights, problem: str) -> None:
    with pytest.raises(ModelDirectoryError, match=f"wav2vec2bert_stats.pt.*{problem}"):
        statistics(changed)


def test_the_released_places_are_those_we_compute() -> None:
    places = sinusoid(19, 0, 8).flip(0)[None]
    assert conditioning_weights({PLACES: places}) == {}
    with pytest.raises(
        ModelDirectoryError, match=r"pos_enc.pe is off the sinusoids .* by up to 0.1"
    ):
        conditioning_weights({PLACES: places + 0.1})
    with pytest.raises(ModelDirectoryError, match=r"pos_enc.pe has the shape \[20, 8\]"):
        conditioning_weights({PLACES: places[0]})


def test_numbers_that_make_no_network_are_refused() -> None:
    odd = SpeakerEncoderConfig(bins=84)
    with pytest.raises(ModelDirectoryError, match="bins is 84; it is halved three times"):
        outline(lambda: CamPlusPlus(odd), "campplus")
    uneven = GptConfig(width=30, heads=7, speaker=ConditionerConfig(latent_width=30))
    with pytest.raises(ModelDirectoryError, match="7 heads of a width of 30"):
        outline(lambda: Gpt(uneven), "gpt")
