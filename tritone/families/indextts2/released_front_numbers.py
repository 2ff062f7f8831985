"""The numbers of the release before the flow: of config.yaml, of w2v-bert's config.json, and of the
weights where both are silent."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from tritone.checkpoints.plain_yaml import YamlValues, shown
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.reference_config import (
    CodecConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.released_gpt import GPT_FILE
from tritone.families.indextts2.released_reference import SPEAKER_FILE
from tritone.families.indextts2.released_sections import check_is, section
from tritone.plain_json import parse_json

_CONDITIONER = {
    "width": "output_size",
    "hidden": "linear_units",
    "heads": "attention_heads",
    "blocks": "num_blocks",
    "expansion": "perceiver_mult",
}
_CODEC = {
    "width": "hidden_size",
    "codes": "codebook_size",
    "code_width": "codebook_dim",
    "backbone": "vocos_dim",
    "hidden": "vocos_intermediate_dim",
    "layers": "vocos_num_layers",
}
_W2V_BERT = {
    "inputs": "feature_projection_input_dim",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "left": "left_max_position_embeddings",
    "right": "right_max_position_embeddings",
    "kernel": "conv_depthwise_kernel_size",
}
# What our networks are, and no number of theirs says.
_GPT_IS: dict[tuple[str, ...], object] = {
    ("condition_type",): "conformer_perceiver",
    ("condition_module", "input_layer"): "conv2d2",
    ("emo_condition_module", "input_layer"): "conv2d2",
    ("start_text_token",): 0,
    ("stop_text_token",): 1,
}
_W2V_BERT_IS = {"hidden_act": "swish", "position_embeddings_type": "relative_key"}


def gpt_config(values: YamlValues, weights: Mapping[str, Tensor], features: int) -> GptConfig:
    """weights: of `gpt.pth`. features: channels of w2v-bert."""
    codes = values.integer("gpt", "number_mel_codes") - 2
    expected = _GPT_IS | {("start_mel_token",): codes, ("stop_mel_token",): codes + 1}
    for keys, wanted in expected.items():
        check_is(values.path, ".".join(("gpt", *keys)), values.value("gpt", *keys), wanted)
    return section(
        GptConfig,
        values.path,
        features=features,
        width=values.integer("gpt", "model_dim"),
        layers=values.integer("gpt", "layers"),
        heads=values.integer("gpt", "heads"),
        codes=codes,
        code_positions=_rows(weights, GPT_FILE, "mel_pos_embedding.emb.weight"),
        text_ids=values.integer("gpt", "number_text_tokens"),
        text_positions=_rows(weights, GPT_FILE, "text_pos_embedding.emb.weight"),
        speaker=_conditioner(values, "condition_module", weights, "perceiver_encoder"),
        emotion=_conditioner(values, "emo_condition_module", weights, "emo_perceiver_encoder"),
    )


def codec_config(values: YamlValues) -> CodecConfig:
    numbers = {ours: values.integer("semantic_codec", theirs) for ours, theirs in _CODEC.items()}
    return section(CodecConfig, values.path, **numbers)


def speaker_config(weights: Mapping[str, Tensor]) -> SpeakerEncoderConfig:
    """Nothing but the weights says how large it is."""
    layer = "xvector.block1.tdnnd1."
    rows = partial(_rows, weights, SPEAKER_FILE)
    channels, planes = rows("xvector.tdnn.linear.weight"), rows("head.conv1.weight")
    growth = rows(f"{layer}cam_layer.linear_local.weight")
    return SpeakerEncoderConfig(
        bins=8 * weights["xvector.tdnn.linear.weight"].shape[1] // planes,
        width=rows("xvector.dense.linear.weight"),
        planes=planes,
        channels=channels,
        growth=growth,
        bottleneck=rows(f"{layer}linear1.weight") // growth,
    )


def w2v_bert_config(path: Path, layers: int) -> W2vBertConfig:
    """Of a config.json. layers: those that are read."""
    content = parse_json(path)
    for key, wanted in _W2V_BERT_IS.items():
        check_is(path, key, content.get(key), wanted)
    if not isinstance(found := content.get("num_hidden_layers"), int) or found < layers:
        raise ModelDirectoryError(f"{path}: num_hidden_layers is {shown(found)}, below {layers}")
    numbers = {ours: content.get(theirs) for ours, theirs in _W2V_BERT.items()}
    return section(W2vBertConfig, path, layers=layers, **numbers)


def _conditioner(
    values: YamlValues, name: str, weights: Mapping[str, Tensor], perceiver: str
) -> ConditionerConfig:
    key = f"{perceiver}.latents"
    latents = _rows(weights, GPT_FILE, key)
    numbers = {ours: values.integer("gpt", name, theirs) for ours, theirs in _CONDITIONER.items()}
    return section(
        ConditionerConfig,
        values.path,
        latents=latents,
        latent_width=weights[key].shape[1],
        **numbers,
    )


def _rows(weights: Mapping[str, Tensor], file: str, key: str) -> int:
    if key not in weights or weights[key].dim() < 2:
        raise ModelDirectoryError(f"{file} has no matrix {key}")
    return len(weights[key])
