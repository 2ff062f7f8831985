"""Whether all weights are of the shapes that the configuration names, before any is loaded: the
processes of a server would find it out one after the other, each for its own files."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.child import REFUSED
from tritone.diagnostics.doctor.isolated import call
from tritone.errors import ModelDirectoryError

if TYPE_CHECKING:
    from tritone.families import Model

_LOG = logging.getLogger(__name__)
_LIMIT_S = 60.0


def check_shapes(model: "Model") -> None:
    """In this process, which imports torch for it. Raises ModelDirectoryError."""
    if model.family.checks_shapes:
        model.family.check_shapes(model.folder, model.config)


def check_shapes_apart(model: "Model") -> None:
    """In a process of its own, as this one does without torch. Raises ModelDirectoryError; what
    else goes wrong there, the models will tell."""
    if not model.family.checks_shapes:
        return
    _LOG.info("comparing the weights of %s with its configuration", model.folder)
    outcome = call(shapes_of, str(model.folder), limit_s=_LIMIT_S)
    if outcome.status == REFUSED:
        raise ModelDirectoryError(outcome.last_line)
    if outcome.late:
        _LOG.warning("they were not compared within %g s; the models will tell", _LIMIT_S)


def shapes_of(folder: str) -> None:
    """What is called there, where this module is loaded without the package around it."""
    from tritone.families import open_model

    try:
        check_shapes(open_model(Path(folder)))
    except ModelDirectoryError as error:  # whose last line is read: it must be the only one
        raise ModelDirectoryError(" ".join(str(error).split())) from None
