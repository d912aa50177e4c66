"""The application's OpenAPI document: what FastAPI derives, the keys, and the problems that addresses answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from quantum_training.service.problems import ENVELOPED, ProblemAnswer
from quantum_training.service.security.guard import PUBLIC

OF_ANY_REQUEST = (401, 403, 404, 421, 422, 429, 503)
OF_CHANGES = (408, 409, 413)
"""Problems of requests with a body, beside those of any request."""
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
ENVELOPE = {"application/json": {"schema": {"$ref": "#/components/schemas/Envelope"}}}
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key before and after its first dot."},
}
"""The ways to send a key, where the service has keys."""
UNUSED = ("HTTPValidationError", "ValidationError")
"""Schemas of FastAPI's own errors, which this service does not answer."""


class Application(FastAPI):
    """FastAPI with keys and problems in its document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = with_keys(with_problems(super().openapi()))
        return self.openapi_schema


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the ways to send a key, which every address but those of PUBLIC needs."""
    document["components"]["securitySchemes"] = KEYS
    document["security"] = [{name: []} for name in KEYS]
    for path in PUBLIC & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
    return document


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the problems of every address. An address may name more of them by status."""
    schemas = document["components"]["schemas"]
    for name in UNUSED:
        schemas.pop(name, None)
    schemas["ProblemAnswer"] = ProblemAnswer.model_json_schema()
    for path, operations in document["paths"].items():
        content = ENVELOPE if path.startswith(ENVELOPED) else PROBLEM
        for method, operation in operations.items():
            answers = operation["responses"]
            named = {int(status) for status in answers if int(status) >= HTTPStatus.BAD_REQUEST}
            for status in sorted({*named, *OF_ANY_REQUEST, *(OF_CHANGES if method == "post" else ())}):
                answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return document
