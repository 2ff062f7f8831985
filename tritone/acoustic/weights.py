"""Loading weights: every name and every shape must fit."""

from collections.abc import Mapping

from torch import Tensor, nn

from tritone.errors import ModelDirectoryError


def load_strictly(
    module: nn.Module, state: Mapping[str, Tensor], file: str, *, assign: bool = False
) -> None:
    """Load every tensor by name and shape; raise ModelDirectoryError that names each misfit.

    assign: take the tensors as they are, for a module on the meta device.
    """
    expected = module.state_dict()
    problems = [f"lacks {k} {list(v.shape)}" for k, v in expected.items() if k not in state]
    problems += [f"has the unknown {k}" for k in state if k not in expected]
    problems += [
        f"has {k} {list(state[k].shape)} where the configuration wants {list(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelDirectoryError(f"{file} {shown}{more}")
    module.load_state_dict(dict(state), assign=assign)
