"""The weights of the released `s2mel.pth`, under our names and in our layouts.

The only place that knows upstream's state-dict keys of that file. What is left out is used by
nothing upstream: some keys altogether, and the joins of blocks that have nothing to join.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tritone.acoustic.linear import window_weight
from tritone.checkpoints.state_keys import Rules, fold_weight_norm, rename
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.estimator import time_frequencies

FILE = "s2mel.pth"
PARTS = {"cfm": "", "length_regulator": "regulator.", "gpt_layer": "features.latent."}
CODEBOOK = "features.codebook.weight"

_UNUSED = re.compile(
    r"^(estimator\.(x_embedder\..*|cond_embedder\.weight|content_mask_embedder\.weight|input_pos)"
    r"|mask_token|embedding\.weight)$"
)
_JOIN = re.compile(r"^estimator\.transformer\.layers\.(\d+)\.skip_in_linear\.")
_FREQUENCIES = re.compile(r"\.t_embedder2?\.freqs$")
_FIRST_INPUT, _GIVEN = "estimator.input.weight", "estimator.given."

_ESTIMATOR: Rules = (
    (r"\.t_embedder\.mlp\.0\.", ".time.expand."),
    (r"\.t_embedder\.mlp\.2\.", ".time.project."),
    (r"\.t_embedder2\.mlp\.0\.", ".wavenet_time.expand."),
    (r"\.t_embedder2\.mlp\.2\.", ".wavenet_time.project."),
    (r"\.cond_projection\.", ".content."),
    (r"\.cond_x_merge_linear\.", ".given."),
    (r"\.transformer\.norm\.", ".end_norm."),
    (r"\.transformer\.layers\.", ".blocks."),
    (r"\.skip_in_linear\.", ".join."),
    (r"\.ffn_norm\.", ".feed_forward_norm."),
    (r"_norm\.project_layer\.", "_norm.time."),
    (r"_norm\.norm\.weight$", "_norm.gain"),
    (r"\.attention\.wqkv\.", ".query_key_value."),
    (r"\.attention\.wo\.", ".output."),
    (r"\.feed_forward\.w2\.", ".contract."),
    (r"\.skip_linear\.", ".skip."),
    (r"\.conv1\.", ".head."),
    (r"\.conv2\.", ".output."),
    (r"\.res_projection\.", ".residual."),
    (r"\.final_layer\.linear\.", ".final."),
    (r"\.final_layer\.adaLN_modulation\.1\.", ".final_time."),
    (r"\.wavenet\.in_layers\.(\d+)\.conv\.conv\.", r".wavenet.gates.\1."),
    (r"\.wavenet\.res_skip_layers\.(\d+)\.conv\.conv\.", r".wavenet.outputs.\1."),
    (r"\.wavenet\.cond_layer\.conv\.conv\.", ".wavenet.time."),
)


def flow_weights(net: Mapping[str, Mapping[str, Tensor]], codebook: Tensor) -> dict[str, Tensor]:
    """The tensors of `s2mel.pth`'s `net` under the names of `.flow.FlowNetwork`.

    codebook: (codes, features) what each code stands for, of the semantic codec. Raises
    ModelDirectoryError for a part that is missing; whether the rest fits is for `check_fit` to say.
    """
    if lacking := [part for part in PARTS if part not in net]:
        raise ModelDirectoryError(f"{FILE} lacks the part {lacking[0]}")
    state = {CODEBOOK: codebook}
    for part, prefix in PARTS.items():
        plain = {key.removeprefix("module."): value for key, value in net[part].items()}
        own = _READ[part](plain) if part in _READ else plain
        state |= {prefix + key: value for key, value in own.items()}
    return state


def estimator_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the part `cfm`. Convolutions become matrices of their taps, the two inner projections of
    a feed-forward layer one, and what is known beside the noisy mel has a projection of its own.
    """
    state = _used(fold_weight_norm(released, FILE))
    for gate in [key for key in state if key.endswith(".feed_forward.w1.weight")]:
        up = gate.replace(".w1.", ".w3.")
        if up in state and state[up].shape == state[gate].shape:
            joined = gate.replace(".feed_forward.w1.", ".expand.")
            state[joined] = torch.cat([state.pop(gate), state.pop(up)])
    state = rename(state, _ESTIMATOR)
    mel, both = state.get("estimator.output.weight"), state.get(_GIVEN + "weight")
    if mel is not None and both is not None and mel.dim() == 3 and both.dim() == 2:
        state[_FIRST_INPUT], state[_GIVEN + "weight"] = (
            part.contiguous() for part in both.tensor_split([len(mel)], dim=1)
        )
    return {key: window_weight(v) if v.dim() == 3 else v for key, v in state.items()}


def regulator_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the part `length_regulator`: each layer is a convolution, a norm and an activation."""
    state = {key: value for key, value in released.items() if not _UNUSED.match(key)}
    convolutions = [int(m[1]) for key in state if (m := re.match(r"model\.(\d+)\.", key))]
    last = max(convolutions, default=0)

    def name(match: re.Match[str]) -> str:
        layer, part = divmod(int(match[1]), 3)
        if int(match[1]) == last:
            return "output."
        return f"layers.{layer}.{('conv', 'norm', 'activation')[part]}."

    return rename(state, ((r"^content_in_proj\.", "input."), (r"^model\.(\d+)\.", name)))


_READ = {"cfm": estimator_weights, "length_regulator": regulator_weights}


def _used(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what nothing uses, and without the frequencies, which are computed.

    Raises ModelDirectoryError for frequencies that are others.
    """
    joins = {int(m[1]) for key in state if (m := _JOIN.match(key))}
    first = (max(joins, default=0) + 1) // 2  # the last block whose output is kept, and one
    used = {}
    for key, value in state.items():
        if _FREQUENCIES.search(key):
            _check_frequencies(key, value)
        elif not _UNUSED.match(key) and not ((m := _JOIN.match(key)) and int(m[1]) <= first):
            used[key] = value
    return used


def _check_frequencies(key: str, found: Tensor) -> None:
    ours = time_frequencies()
    if found.shape == ours.shape and torch.allclose(found.float(), ours, rtol=1e-5, atol=0):
        return
    shown = ", ".join(f"{value:.4f}" for value in found.flatten()[:3].tolist())
    raise ModelDirectoryError(
        f"{FILE}: {key} is {list(found.shape)} of {shown} ..; IndexTTS2 has {len(ours)} from 1 "
        "down to 0.0001"
    )
