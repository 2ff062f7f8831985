"""What a refused request held is freed at once, and not by the garbage collector some day."""

import gc
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from backend_fakes import backend

from tritone.errors import InvalidRequest
from tritone.synthesis.timing import Timing


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Request:
    """With what hangs on it."""

    def refuse(self) -> None:
        raise InvalidRequest("speed", "is 3")


def by_account(modules: Any, request: Request) -> Any:
    account = modules.account.Account(Timing(24000), SimpleNamespace())
    with suppress(InvalidRequest), account.noting():
        request.refuse()
    return account


def by_answers(modules: Any, request: Request) -> Any:
    def start(request: Request) -> Generator[Any, Any, Any]:
        request.refuse()
        yield

    return modules.messages.answer_together([request], start, list, "token2wav")


def asking(request: Request) -> Generator[Request, Any, str]:
    yield request
    return "answer"


def by_a_failed_job(modules: Any, request: Request) -> Any:
    def run(jobs: list[Request]) -> list[Any]:
        try:
            jobs[0].refuse()
        except InvalidRequest as error:
            return [error]
        return []

    return modules.messages.answer_together([request], asking, run, "token2wav")


def by_all_jobs_failing(modules: Any, request: Request) -> Any:
    def run(jobs: list[Request]) -> list[Any]:
        jobs[0].refuse()
        return []

    return modules.messages.answer_together([request], asking, run, "token2wav")


@pytest.mark.parametrize("ask", [by_account, by_answers, by_a_failed_job, by_all_jobs_failing])
def test_nothing_stays(monkeypatch: pytest.MonkeyPatch, ask: Callable[[Any, Request], Any]) -> None:
    with backend(monkeypatch, "account", "messages") as modules:
        request = Request()
        freed = weakref.ref(request)
        kept = ask(modules, request)
        del request
        assert freed() is None, kept
