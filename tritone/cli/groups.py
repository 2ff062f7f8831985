"""Options that belong together: a dataclass as a subcommand's parameter, whose fields they are."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any

_KIND = Parameter.KEYWORD_ONLY


def flat(function: Callable[..., int]) -> Callable[..., int]:
    """The same with every field of its groups as a parameter of its own, in their order."""
    asked = signature(function).parameters.values()
    groups: dict[str, Any] = {
        each.name: each.annotation for each in asked if is_dataclass(each.annotation)
    }
    parameters = [
        parameter
        for each in asked
        for parameter in (
            map(_parameter, fields(groups[each.name]))
            if each.name in groups
            else [each.replace(kind=_KIND)]
        )
    ]

    def called(**options: Any) -> int:
        for name, group in groups.items():
            options[name] = group(
                **{field.name: options.pop(field.name) for field in fields(group)}
            )
        return function(**options)

    called.__doc__, called.__name__ = function.__doc__, function.__name__
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return called


def _parameter(field: "Field[Any]") -> Parameter:
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, _KIND, default=default, annotation=field.type)
