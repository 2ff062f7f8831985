"""The weights of the networks that read a reference recording, under our names and in our layouts.

The only place that knows upstream's state-dict keys of `w2v-bert-2.0/model.safetensors`,
`wav2vec2bert_stats.pt`, `semantic_codec_model.safetensors` and `campplus_cn_common.bin`. Whether
what they return fits a network is for `tritone.acoustic.weights.check_fit` to say.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from tritone.checkpoints.state_keys import Rules, fold_weight_norm, rename
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.released_layouts import join_projections, matrices_of_pointwise

W2V_BERT_FILE = "w2v-bert-2.0/model.safetensors"
STATISTICS_FILE = "wav2vec2bert_stats.pt"
CODEC_FILE = "semantic_codec_model.safetensors"
SPEAKER_FILE = "campplus_cn_common.bin"

_EPSILON = 1e-5  # of batch norms

_W2V_BERT: Rules = (
    (r"^feature_projection\.layer_norm\.", "input_norm."),
    (r"^feature_projection\.projection\.", "input."),
    (r"^encoder\.layers\.", "layers."),
    (r"\.ffn1_layer_norm\.", ".before.norm."),
    (r"\.ffn1\.", ".before."),
    (r"\.ffn2_layer_norm\.", ".after.norm."),
    (r"\.ffn2\.", ".after."),
    (r"\.intermediate_dense\.", ".expand."),
    (r"\.output_dense\.", ".contract."),
    (r"\.self_attn_layer_norm\.", ".attention.norm."),
    (r"\.self_attn\.distance_embedding\.weight$", ".attention.distance"),
    (r"\.self_attn\.linear_out\.", ".attention.output."),
    (r"\.self_attn\.", ".attention."),
    (r"\.conv_module\.depthwise_layer_norm\.", ".convolution.depthwise_norm."),
    (r"\.conv_module\.depthwise_conv\.", ".convolution.depthwise."),
    (r"\.conv_module\.layer_norm\.", ".convolution.norm."),
    (r"\.conv_module\.pointwise_conv1\.", ".convolution.expand."),
    (r"\.conv_module\.pointwise_conv2\.", ".convolution.contract."),
    (r"\.final_layer_norm\.", ".norm."),
)

_CODEC: Rules = (
    (r"^encoder\.0\.embed\.", "encoder.input."),
    (r"^encoder\.0\.norm\.", "encoder.input_norm."),
    (r"^encoder\.0\.convnext\.", "encoder.blocks."),
    (r"^encoder\.0\.final_layer_norm\.", "encoder.norm."),
    (r"^encoder\.1\.", "encoder.output."),
    (r"\.gamma$", ".scale"),
    (r"\.dwconv\.", ".depthwise."),
    (r"\.pwconv1\.", ".expand."),
    (r"\.pwconv2\.", ".contract."),
    (r"^quantizer\.quantizers\.0\.in_project\.", "code_book.project."),
    (r"^quantizer\.quantizers\.0\.codebook\.weight$", "code_book.rows"),
    (r"^quantizer\.quantizers\.0\.out_project\.", "code_book.expand."),
)

_SPEAKER: Rules = (
    (r"^head\.conv1\.", "image.input."),
    (r"^head\.conv2\.", "image.output."),
    (
        r"^head\.layer(\d+)\.(\d+)\.",
        lambda m: f"image.blocks.{2 * int(m[1]) + int(m[2]) - 2}.",
    ),
    (r"\.shortcut\.0\.", ".shortcut."),
    (r"^xvector\.tdnn\.linear\.", "input."),
    (r"^xvector\.block(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"^xvector\.transit(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"\.tdnnd(\d+)\.", lambda m: f".layers.{int(m[1]) - 1}."),
    (r"\.nonlinear1?\.batchnorm\.", ".before."),
    (r"^xvector\.out_nonlinear\.batchnorm\.", "after."),
    (r"^xvector\.dense\.linear\.", "output."),
    (r"\.cam_layer\.linear_local\.", ".gate.local."),
    (r"\.cam_layer\.linear1\.", ".gate.squeeze."),
    (r"\.cam_layer\.linear2\.", ".gate.excite."),
    (r"(blocks\.\d+(?:\.layers\.\d+)?)\.linear1?\.", r"\1.reduce."),
)
# Each convolution and the batch norm after it.
_NORM_AFTER: Rules = (
    (r"^(head\.(?:layer\d\.\d\.)?)conv(\d)$", r"\1bn\2"),
    (r"^(head\..*shortcut)\.0$", r"\1.1"),
    (r"^(xvector\.(?:tdnn|dense))\.linear$", r"\1.nonlinear.batchnorm"),
    (r"^(xvector\.block\d+\.tdnnd\d+)\.linear1$", r"\1.nonlinear2.batchnorm"),
)


def unused_of_w2v_bert(key: str, layers: int) -> bool:
    """Whether nothing reads it: layers after those that are built, and what training masks with."""
    layer = re.match(r"encoder\.layers\.(\d+)\.", key)
    return key == "masked_spec_embed" or (layer is not None and int(layer[1]) >= layers)


def unused_of_codec(key: str) -> bool:
    """Whether nothing reads it: the way back to features."""
    return key.startswith("decoder.")


def w2v_bert_weights(released: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The first `layers` layers, under the names of `.w2v_bert.W2vBert`; `statistics` are apart.

    The three projections of an attention become one; convolutions of one frame, matrices.
    """
    state = {k: v for k, v in released.items() if not unused_of_w2v_bert(k, layers)}
    matrices_of_pointwise(state)
    join_projections(state)
    return rename(state, _W2V_BERT)


def statistics(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean and deviation of the last hidden state, under the names of `.w2v_bert.W2vBert`.

    Raises ModelDirectoryError where one is missing or the variance is not positive.
    """
    missing = {"mean", "var"} - released.keys()
    if missing:
        raise ModelDirectoryError(f"{STATISTICS_FILE} lacks {', '.join(sorted(missing))}")
    variance = released["var"]
    if not (variance > 0).all():
        raise ModelDirectoryError(f"{STATISTICS_FILE}: var is {variance.min():.3g} somewhere")
    return {"mean": released["mean"].float(), "deviation": variance.float().sqrt()}


def codec_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder and the code book, under the names of `.codec.SemanticCodec`; the decoder is not
    used. Weight norm is folded. Raises ModelDirectoryError where one half of it is missing."""
    used = {k: v for k, v in released.items() if not unused_of_codec(k)}
    state = fold_weight_norm(used, CODEC_FILE)
    for key in [key for key in state if key.endswith("_project.weight")]:
        state[key] = state[key].flatten(1) if state[key].dim() else state[key]
    return rename(state, _CODEC)


def speaker_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of `.campplus.CamPlusPlus`, with the batch norms folded."""
    state = {k: v for k, v in released.items() if not k.endswith(".num_batches_tracked")}
    for key in [key for key in state if key.endswith(".weight") and state[key].dim() > 1]:
        ((norm, _),) = rename({key.removesuffix(".weight"): state[key]}, _NORM_AFTER).items()
        weight = state[key]
        if len(state.get(f"{norm}.running_mean", ())) != len(weight):
            continue
        if found := _take_norm(state, norm):
            scale, shift = found
            state[key] = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            state[key.removesuffix("weight") + "bias"] = shift
    for key in [key for key in state if key.endswith(".running_mean")]:
        norm = key.removesuffix(".running_mean")
        if found := _take_norm(state, norm):
            state[f"{norm}.scale"], state[f"{norm}.shift"] = found
    if (output := "xvector.dense.linear.weight") in state:
        state[output] = state[output].squeeze(-1)
    return rename(state, _SPEAKER)


def _take_norm(state: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of a batch norm, whose tensors are taken out; None where it is not whole."""
    keys = {part: f"{name}.{part}" for part in ("running_mean", "running_var", "weight", "bias")}
    parts = {part: state[key] for part, key in keys.items() if key in state}
    if not {"running_mean", "running_var"} <= parts.keys():
        return None
    if len({tensor.shape for tensor in parts.values()}) > 1:
        return None
    for part in parts:
        del state[keys[part]]
    scale = (parts["running_var"].double() + _EPSILON).rsqrt()
    shift = -parts["running_mean"].double() * scale
    if "weight" in parts:
        scale, shift = scale * parts["weight"], shift * parts["weight"]
    if "bias" in parts:
        shift = shift + parts["bias"]
    return scale.float(), shift.float()
