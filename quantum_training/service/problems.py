"""What the service answers if a request cannot be followed: a problem (RFC 9457) with the broken rule and its remedy.

No problem holds a traceback, a path or a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from quantum_training.resources.database import DatabaseError
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.resources.store.files import StoreAccessError
from quantum_training.resources.store.store import StoreError

NAMED = 50
"""Known names that a problem lists at most."""
INPUT_LENGTH = 100
ENVELOPED = tuple(
    f"/api/training/{part}" for part in ("train", "progress", "stop", "models", "backtest", "drift_status", "config")
)
"""Addresses of an older service whose every answer is {success, data, error}."""
log = logging.getLogger(__name__)


class ProblemAnswer(BaseModel):
    """Why a request was not followed."""

    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What happened.", examples=["there is no symbol EURUSD"])
    rule: str = Field(description="The rule that the request breaks.", examples=["a symbol is one of the settings"])
    remedy: str = Field(description="What to do.", examples=["use one of AAA, BBB"])


class Problem(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is refused. status: of HTTP; the texts are those of ProblemAnswer."""

    def __init__(self, status: int, detail: str, rule: str, remedy: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.rule, self.remedy, self.headers = status, detail, rule, remedy, headers

    @property
    def answer(self) -> ProblemAnswer:
        """Its content."""
        return ProblemAnswer(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            rule=self.rule,
            remedy=self.remedy,
        )


def unknown(kind: str, name: str, known: Iterable[str]) -> Problem:
    """404 for a name that does not exist; it lists those that do."""
    names = [*known]
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if names[NAMED:] else "")
    remedy = f"use one of {listed}" if names else "nothing is stored yet; run the job clm_cycle"
    return Problem(404, f"there is no {kind} {name}", f"a {kind} in a request is one that exists", remedy)


def problem_of(error: Exception) -> Problem:
    """The problem that an error becomes. One that nobody foresaw is logged under a number, which the client gets."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _wrong_input(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    number = uuid4().hex[:12]
    log.error("request %s failed", number, exc_info=error)
    what = {
        DatabaseError: "the database of ledger and events",
        StoreAccessError: "the store",
        RegistryOutage: "MLflow",
    }
    for kind, name in what.items():
        if isinstance(error, kind):
            return Problem(503, f"{name} does not answer", f"{name} is in reach", f"see entry {number} of the log")
    if isinstance(error, StoreError | RegistryError | ValueError):
        detail, rule = "a stored record cannot be read", "records are whole and of a layout that this version reads"
        return Problem(503, detail, rule, f"see entry {number} of the log; python -m quantum_training.doctor looks")
    detail, rule = "the service met an error that it does not know", "the service works"
    return Problem(503, detail, rule, f"report entry {number} of the log")


def _wrong_input(error: RequestValidationError) -> Problem:
    def described(problem: Any) -> str:
        place = ".".join(str(part) for part in problem["loc"])
        return f"{place}: {problem['msg']}"[: 2 * INPUT_LENGTH]

    problems = [described(problem) for problem in error.errors()]
    detail = "; ".join(problems[:5]) + (f" and {len(problems) - 5} more" if problems[5:] else "")
    return Problem(422, detail, "parameters and body are as /openapi.json says", "correct what detail names")


def _of_http(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.BAD_REQUEST:  # from FastAPI: it fails to decode the body
        return Problem(422, "the body cannot be read", "a body is JSON in UTF-8", "send such a body")
    texts = {
        404: ("there is nothing at this address", "addresses are those of /openapi.json", "see /openapi.json"),
        405: ("this address does not know the method", "methods are those of /openapi.json", "see /openapi.json"),
    }
    refused = ("the request is refused", "requests are as /openapi.json says", "see /openapi.json")
    headers = dict(error.headers) if error.headers else None
    return Problem(error.status_code, *texts.get(error.status_code, refused), headers)


def problem_response(problem: Problem, path: str) -> JSONResponse:
    """The answer to a request at this path that is refused."""
    if path.startswith(ENVELOPED):
        text = f"{problem.detail}; {problem.rule}: {problem.remedy}"
        return JSONResponse({"success": False, "data": {}, "error": text}, problem.status, problem.headers)
    return JSONResponse(
        problem.answer.model_dump(), problem.status, problem.headers, media_type="application/problem+json"
    )


def answer_problems(app: FastAPI) -> None:
    """Have every error of a request answered as a problem."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return problem_response(problem_of(error), request.url.path)

    refusals = (Problem, RequestValidationError, HTTPException)
    faults = (DatabaseError, StoreAccessError, StoreError, RegistryOutage, RegistryError, ValueError, Exception)
    for kind in (*refusals, *faults):
        app.add_exception_handler(kind, handle)
