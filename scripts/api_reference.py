"""Write the gateway's API reference, docs/api.md, from the schema that it serves.

python scripts/api_reference.py            # --check: exit status 1 if the page is another
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
HEAD = """# API of the gateway

Made by `python scripts/api_reference.py` from the schema at `/openapi.json`.
[gateway.md](gateway.md) explains it, and the WebSockets, which are not part of such a schema.
"""
_ERRORS = "ErrorBody"
_LIMITS = ("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

Schema = dict[str, Any]


def reference(document: Schema) -> str:
    """Markdown of an OpenAPI 3.1 document."""
    schemas: dict[str, Schema] = document.get("components", {}).get("schemas", {})
    parts = [HEAD]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parts.append("\n".join(_operation(f"{method.upper()} {path}", operation)))
    used = [name for name in schemas if f"[{name}](#{name.lower()})" in "".join(parts)]
    pages = {name: "\n".join(_object(name, schemas[name])) for name in used}
    while more := _named(pages, schemas):
        pages |= {name: "\n".join(_object(name, schemas[name])) for name in more}
    return "\n".join([*parts, *(pages[name] for name in schemas if name in pages)])


def _named(pages: dict[str, str], schemas: dict[str, Schema]) -> list[str]:
    """Schemas that the pages refer to and that have none."""
    text = "".join(pages.values())
    return [n for n in schemas if n not in pages and f"[{n}](#{n.lower()})" in text]


def _operation(title: str, operation: Schema) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{operation.get('description') or operation['summary']}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | | |\n|---|---|---|---|"
        for each in parameters:
            need = "required" if each.get("required") else ""
            text = " ".join(filter(None, (need, each.get("description", ""))))
            yield f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {text} |"
        yield ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body: {_kind(content['schema'])}, `{media}`\n"
    yield "| answer | |\n|---|---|"
    for status, answer in operation["responses"].items():
        yield f"| {status} | {_answer(answer)} |"
    yield ""


def _answer(answer: Schema) -> str:
    by_kind: dict[str, list[str]] = {}
    for media, content in answer.get("content", {}).items():
        by_kind.setdefault(_kind(content.get("schema", {})), []).append(f"`{media}`")
    kinds = [kind if _ERRORS in kind else f"{kind} {', '.join(m)}" for kind, m in by_kind.items()]
    return ": ".join(filter(None, (answer["description"], "; ".join(kinds).strip())))


def _object(name: str, schema: Schema) -> Iterator[str]:
    yield f"## {name}\n"
    if text := schema.get("description"):
        yield f"{_line(text)}\n"
    required = schema.get("required", [])
    yield "| field | | |\n|---|---|---|"
    for field, value in schema.get("properties", {}).items():
        words = ["required" if field in required else _default(value), *_limits(value)]
        text = ". ".join(filter(None, (", ".join(filter(None, words)), _line(_said(value)))))
        yield f"| `{field}` | {_kind(value)} | {text} |"
    yield ""


def _kind(schema: Schema) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(dict.fromkeys(_kind(each) for each in schema[choice]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _default(schema: Schema) -> str:
    return f"default `{schema['default']}`" if schema.get("default") is not None else ""


def _limits(schema: Schema) -> Iterator[str]:
    for part in (schema, *schema.get("anyOf", [])):
        yield from (f"{_words(name)} {part[name]}" for name in _LIMITS if name in part)


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name)


def _said(schema: Schema) -> str:
    return str(schema.get("description", ""))


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    page = reference(create_app(GatewaySettings()).openapi())
    if check:
        if PAGE.read_text(encoding="utf-8") != page:
            print(f"{PAGE} is not of this schema: python {Path(sys.argv[0])}", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
