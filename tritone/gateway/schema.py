"""The OpenAPI schema, without what FastAPI adds and this application never answers."""

from typing import Any

from fastapi import FastAPI

_NEVER = "422"  # what is wrong with a request is a 400, in OpenAI's shape
_ITS_SCHEMAS = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Have the application tell it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()  # kept by the application: the same one each time
        for item in document["paths"].values():
            for operation in item.values():
                operation["responses"].pop(_NEVER, None)
        for name in _ITS_SCHEMAS:
            document.get("components", {}).get("schemas", {}).pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
