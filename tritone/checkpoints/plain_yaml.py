"""Read the plain values of a released YAML file without running anything in it.

The file is HyperPyYAML: its tags (`!new:`, `!name:`, `!apply:`) would construct objects when loaded
as intended. Here every tag is dropped and what it marks is kept as the mapping, list or scalar it
is; `!ref <name>` becomes the scalar of that name at the top level.
"""

import re
import reprlib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import StrictInt, TypeAdapter, ValidationError

from tritone.errors import ModelDirectoryError

T = TypeVar("T")

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_REFERENCE = re.compile(r"<(\w+)>")
_INTEGER = TypeAdapter[int](StrictInt)
_NUMBER = TypeAdapter(float)  # YAML 1.1 reads 1e-6 as a string
_INTEGERS = TypeAdapter(tuple[StrictInt, ...])
_INTEGER_LISTS = TypeAdapter(tuple[tuple[StrictInt, ...], ...])


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader that takes any tag for the plain value under it.

    Merge keys are refused: a few lines of them stand for more than any memory holds.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not read", key.start_mark
                )


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor("!", _plain)


def shown(value: Any) -> str:
    """A value for a message: short, however often aliases repeat what is in it."""
    return _SHORT.repr(value)


class YamlValues:
    """Values of one file by path, e.g. `values.integer("flow", "encoder", "output_size")`.

    Errors are ModelDirectoryError that name the file, the path and what stands there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
        except Exception as error:  # a scalar that its own tag misnames raises anything
            raise ModelDirectoryError(f"{path} is not readable YAML: {error}") from error
        if not isinstance(tree, dict):
            raise ModelDirectoryError(f"{path} holds no mapping at its top level")
        self._tree: dict[str, Any] = tree

    @property
    def top(self) -> dict[str, Any]:
        """All of the file."""
        return self._tree

    def has(self, *keys: str) -> bool:
        try:
            self._at(keys)
        except ModelDirectoryError:
            return False
        return True

    def value(self, *keys: str) -> Any:
        """The value at a path, references resolved."""
        node, seen = self._at(keys), {keys}
        while isinstance(node, str) and (reference := _REFERENCE.fullmatch(node.strip())):
            target = (reference[1],)
            if target in seen:
                raise ModelDirectoryError(f"{self.path}: {reference[1]} refers to itself")
            seen.add(target)
            node = self._at(target)
        return node

    def _at(self, keys: tuple[str, ...]) -> Any:
        node: Any = self._tree
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                raise ModelDirectoryError(f"{self.path} lacks {'.'.join(keys)}")
            node = node[key]
        return node

    def integer(self, *keys: str) -> int:
        return self._valid(keys, _INTEGER, "a whole number")

    def number(self, *keys: str) -> float:
        return self._valid(keys, _NUMBER, "a number")

    def integers(self, *keys: str) -> tuple[int, ...]:
        return self._valid(keys, _INTEGERS, "a list of whole numbers")

    def integer_lists(self, *keys: str) -> tuple[tuple[int, ...], ...]:
        return self._valid(keys, _INTEGER_LISTS, "a list of lists")

    def _valid(self, keys: tuple[str, ...], kind: TypeAdapter[T], wanted: str) -> T:
        value = self.value(*keys)
        try:
            return kind.validate_python(value)
        except ValidationError:
            problem = f"{'.'.join(keys)} is {shown(value)} where {wanted} belongs"
            raise ModelDirectoryError(f"{self.path}: {problem}") from None
