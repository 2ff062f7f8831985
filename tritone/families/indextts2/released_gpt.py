"""The weights of the released `gpt.pth`, under our names and in our layouts.

The only place that knows upstream's state-dict keys of that file.
"""

from collections.abc import Mapping

from torch import Tensor

from tritone.acoustic.attention import sinusoid
from tritone.checkpoints.state_keys import Rules, rename
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.released_layouts import join_projections, matrices_of_pointwise

GPT_FILE = "gpt.pth"
UNUSED = ("text_head.weight", "text_head.bias")  # predicts text, in training alone
_DECODER = ("gpt.", "final_norm.", "mel_embedding.", "mel_pos_embedding.", "mel_head.")
_PROMPTER = ("speed_emb.", "text_embedding.", "text_pos_embedding.")
_PLACES = "embed.pos_enc.pe"
_TOLERANCE = 1e-4  # of sines of angles in float32

_GPT: Rules = (
    (r"^emo_(conditioning|perceiver)_encoder\.", r"of_emotion.\1."),
    (r"^(conditioning|perceiver)_encoder\.", r"of_speaker.\1."),
    (r"^(of_\w+)\.conditioning\.", r"\1.conformer."),
    (r"\.embed\.conv\.0\.", ".input.convolution."),
    (r"\.embed\.out\.0\.", ".input.project."),
    (r"\.after_norm\.", ".norm."),
    (r"\.encoders\.", ".blocks."),
    (r"\.self_attn\.pos_bias_u$", ".attention.content_bias"),
    (r"\.self_attn\.pos_bias_v$", ".attention.position_bias"),
    (r"\.self_attn\.linear_pos\.", ".attention.position."),
    (r"\.self_attn\.linear_out\.", ".attention.output."),
    (r"\.self_attn\.", ".attention."),
    (r"\.feed_forward\.w_1\.", ".expand."),
    (r"\.feed_forward\.w_2\.", ".contract."),
    (r"\.conv_module\.pointwise_conv1\.", ".convolution.expand."),
    (r"\.conv_module\.pointwise_conv2\.", ".convolution.contract."),
    (r"\.conv_module\.depthwise_conv\.", ".convolution.depthwise."),
    (r"\.conv_module\.norm\.", ".convolution.norm."),
    (r"\.norm_mha\.", ".attention_norm."),
    (r"\.norm_conv\.", ".convolution_norm."),
    (r"\.norm_ff\.", ".feed_forward_norm."),
    (r"\.norm_final\.", ".norm."),
    (r"\.proj_context\.", ".input."),
    (r"\.layers\.(\d+)\.0\.to_q\.", r".layers.\1.query."),
    (r"\.layers\.(\d+)\.0\.to_kv\.", r".layers.\1.key_value."),
    (r"\.layers\.(\d+)\.0\.to_out\.", r".layers.\1.output."),
    (r"\.layers\.(\d+)\.1\.0\.", r".layers.\1.expand."),
    (r"\.layers\.(\d+)\.1\.2\.", r".layers.\1.contract."),
    (r"\.norm\.gamma$", ".scale"),
    (r"^speed_emb\.weight$", "speed"),
    (r"^emovec_layer\.", "emotion_input."),
    (r"^emo_layer\.", "emotion_output."),
    (r"^text_embedding\.weight$", "text_embedding"),
    (r"^mel_embedding\.weight$", "code_embedding"),
    (r"^text_pos_embedding\.emb\.weight$", "text_position"),
    (r"^mel_pos_embedding\.emb\.weight$", "code_position"),
    (r"^mel_head\.", "head."),
    (r"^gpt\.h\.", "blocks."),
    (r"^gpt\.ln_f\.", "norm."),
    (r"\.ln_1\.", ".attention_norm."),
    (r"\.ln_2\.", ".feed_forward_norm."),
    (r"\.attn\.c_attn\.", ".query_key_value."),
    (r"\.attn\.c_proj\.", ".output."),
    (r"\.mlp\.c_fc\.", ".expand."),
    (r"\.mlp\.c_proj\.", ".contract."),
)


def decoder_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `gpt.pth` that are the decoder's, under the names and in the layouts of
    `.gpt.Gpt`: its matrices are transposed. Whether they fit is for `check_fit` to say."""
    state = {k: v for k, v in released.items() if k.startswith(_DECODER)}
    for key, value in state.items():
        if key.startswith("gpt.h.") and value.dim() == 2:
            state[key] = value.t()
    return rename(state, _GPT)


def prompter_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that are of `.gpt_prompter.Prompter`, under its names."""
    return rename({k: v for k, v in released.items() if k.startswith(_PROMPTER)}, _GPT)


def conditioning_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All others, under the names and in the layouts of `.gpt_conditioning.Conditioning`.

    The three projections of a Conformer's attention become one, convolutions of one frame matrices.
    Tables of places are left out: they are computed. Raises ModelDirectoryError where they are
    others; whether the rest fits is for `check_fit` to say.
    """
    others = (*_DECODER, *_PROMPTER, *UNUSED)
    state = {k: v for k, v in released.items() if not k.startswith(others)}
    for key in [key for key in state if key.endswith(_PLACES)]:
        _check_places(key, state.pop(key))
    matrices_of_pointwise(state)
    join_projections(state)
    return rename(state, _GPT)


def _check_places(key: str, found: Tensor) -> None:
    """A table without values has its shape alone to tell."""
    if found.dim() != 3 or len(found) != 1 or found.shape[2] % 2:
        raise ModelDirectoryError(f"{GPT_FILE}: {key} has the shape {list(found.shape)}")
    if found.is_meta:
        return
    ours = sinusoid(found.shape[1] - 1, 0, found.shape[2]).flip(0)
    error = float((found[0].float() - ours).abs().max())
    if not error <= _TOLERANCE:
        raise ModelDirectoryError(
            f"{GPT_FILE}: {key} is off the sinusoids of its places by up to {error:.3g}"
        )
