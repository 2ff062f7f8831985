"""The weights of the released `flow.pt`, under our names and in our layouts.

The only place that knows upstream's state-dict keys of that file.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tritone.acoustic.linear import window_weight
from tritone.acoustic.rotary import rotary_frequencies
from tritone.checkpoints.state_keys import Rules, rename
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_model import join_projections
from tritone.families.cosyvoice3.estimator import INPUTS

FREQUENCIES = "decoder.estimator.rotary_embed.inv_freq"
INPUT = "decoder.estimator.input_embed.proj.weight"
INPUT_ORDER = (0, 2, 3, 1)  # x, mu, speaker and prompt mel in x, prompt mel, mu and speaker

_FLOW: Rules = (
    (r"^input_embedding\.", "token_embedding."),
    (r"^spk_embed_affine_layer\.", "speaker_projection."),
    (r"^pre_lookahead_layer\.conv1\.", "lookahead.ahead."),
    (r"^pre_lookahead_layer\.conv2\.", "lookahead.back."),
    (r"^decoder\.estimator\.", "estimator."),
    (r"\.time_embed\.time_mlp\.0\.", ".time_expand."),
    (r"\.time_embed\.time_mlp\.2\.", ".time_project."),
    (r"\.input_embed\.proj\.", ".input."),
    (r"\.input_embed\.conv_pos_embed\.conv1\.0\.", ".position.convs.0."),
    (r"\.input_embed\.conv_pos_embed\.conv2\.0\.", ".position.convs.1."),
    (r"\.transformer_blocks\.", ".blocks."),
    (r"\.attn_norm\.linear\.", ".time."),
    (r"\.attn\.to_out\.0\.", ".output."),
    (r"\.ff\.ff\.0\.0\.", ".expand."),
    (r"\.ff\.ff\.2\.", ".contract."),
    (r"\.norm_out\.linear\.", ".final_time."),
    (r"\.proj_out\.", ".final_projection."),
)


def flow_weights(released: Mapping[str, Tensor], head_dim: int) -> dict[str, Tensor]:
    """The tensors of `flow.pt` under the names and in the layouts of `.flow.FlowNetwork`.

    The look-ahead convolutions become matrices of their taps, the three projections of each
    attention one, and the columns of the input projection stand in the order of our conditions.
    The rotary frequencies are left out: they are computed. Raises ModelDirectoryError where they
    are others than those of head_dim; whether the rest fits is for `check_fit` to say.
    """
    state = dict(released)
    _check_frequencies(state.pop(FREQUENCIES, None), head_dim)
    for name in ("weight", "bias"):
        join_projections(state, f".attn.to_q.{name}", f".query_key_value.{name}")
    if INPUT in state:
        state[INPUT] = _reordered(state[INPUT])
    for key in [key for key in state if key.startswith("pre_lookahead_layer.")]:
        state[key] = window_weight(state[key]) if state[key].dim() == 3 else state[key]
    return rename(state, _FLOW)


def _reordered(weight: Tensor) -> Tensor:
    """The columns of a projection of `INPUTS` inputs, input by input in our order."""
    inputs = weight.chunk(INPUTS, dim=1) if weight.dim() == 2 else ()
    return torch.cat([inputs[i] for i in INPUT_ORDER], dim=1) if len(inputs) == INPUTS else weight


def _check_frequencies(found: Tensor | None, head_dim: int) -> None:
    ours = rotary_frequencies(head_dim)
    if found is None or (found.shape == ours.shape and (found.float() - ours).abs().max() < 1e-6):
        return
    raise ModelDirectoryError(
        f"flow.pt: {FREQUENCIES} is {_shown(found)}; heads of {head_dim} channels have "
        f"{_shown(ours)}: flow.pt and the yaml file do not belong together"
    )


def _shown(frequencies: Tensor) -> str:
    first = ", ".join(f"{value:.4f}" for value in frequencies.flatten()[:3].tolist())
    return f"{list(frequencies.shape)} of {first} .."
