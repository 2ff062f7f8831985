"""Read the plain values of a released YAML file without running anything in it.

The file is HyperPyYAML: its tags (`!new:`, `!name:`, `!apply:`) would construct objects when loaded
as intended. Here every tag is dropped and what it marks is kept as the mapping, list or scalar it
is; `!ref <name>` becomes the scalar of that name at the top level.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from tritone.errors import ModelDirectoryError

_REFERENCE = re.compile(r"<(\w+)>")


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader that takes any tag for the plain value under it."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor("!", _plain)


class YamlValues:
    """Values of one file by path, e.g. `values.integer("flow", "encoder", "output_size")`.

    Errors are ModelDirectoryError that name the file, the path and what stands there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelDirectoryError(f"{path} is not readable YAML: {error}") from error
        if not isinstance(tree, dict):
            raise ModelDirectoryError(f"{path} holds no mapping at its top level")
        self._tree: dict[str, Any] = tree

    def has(self, *keys: str) -> bool:
        node: Any = self._tree
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
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
        if not self.has(*keys):
            raise ModelDirectoryError(f"{self.path} lacks {'.'.join(keys)}")
        node: Any = self._tree
        for key in keys:
            node = node[key]
        return node

    def integer(self, *keys: str) -> int:
        value = self.value(*keys)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(keys, value, "a whole number")
        return value

    def number(self, *keys: str) -> float:
        value = self.value(*keys)
        try:  # YAML 1.1 reads 1e-6 as a string
            return float(value)
        except (TypeError, ValueError):
            raise self._wrong(keys, value, "a number") from None

    def integers(self, *keys: str) -> tuple[int, ...]:
        value = self.value(*keys)
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            raise self._wrong(keys, value, "a list of whole numbers")
        return tuple(value)

    def integer_lists(self, *keys: str) -> tuple[tuple[int, ...], ...]:
        value = self.value(*keys)
        if not isinstance(value, list) or not all(isinstance(v, list) for v in value):
            raise self._wrong(keys, value, "a list of lists")
        return tuple(tuple(int(x) for x in row) for row in value)

    def _wrong(self, keys: tuple[str, ...], value: Any, wanted: str) -> ModelDirectoryError:
        return ModelDirectoryError(
            f"{self.path}: {'.'.join(keys)} is {value!r} where {wanted} belongs"
        )
