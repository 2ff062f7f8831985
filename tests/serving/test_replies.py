"""Requests answered together: each by its own result, an error at its own request alone."""

from collections.abc import Generator, Iterator
from types import ModuleType
from typing import Any

import pytest
from backend_fakes import backend

from tritone.errors import InvalidRequest, Overloaded


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with backend(monkeypatch, "messages") as modules:
        yield modules.messages


def double(request: Any) -> Generator[int, int, str]:
    """Asks for one job unless the request is bad, or needs none."""
    if request == "bad":
        raise InvalidRequest("request", "is bad")
    if request == "early":
        return "early"
    result = yield request
    if result > 100:
        raise Overloaded("too much")
    return f"{request} -> {result}"


def test_each_request_gets_its_own_result(replies: ModuleType) -> None:
    seen: list[list[int]] = []

    def run(jobs: list[int]) -> list[Any]:
        seen.append(jobs)
        return [InvalidRequest("job", "is three") if job == 3 else 2 * job for job in jobs]

    requests = [1, "bad", 3, "early", 70, 2]
    answers = replies.answer_together(requests, double, run, "token2wav")
    assert seen == [[1, 3, 70, 2]]
    assert [answers[0], answers[3], answers[5]] == ["1 -> 2", "early", "2 -> 4"]
    assert answers[1].message == "InvalidRequest: request: is bad"
    assert answers[2].message == "InvalidRequest: job: is three"
    assert answers[4].message == "Overloaded: too much"


def test_a_failure_of_the_common_work_answers_all_that_waited(replies: ModuleType) -> None:
    def run(jobs: list[int]) -> list[Any]:
        raise RuntimeError("out of memory")

    answers = replies.answer_together([1, "early", 2], double, run, "token2wav")
    assert answers[1] == "early"
    for answer in (answers[0], answers[2]):
        assert answer.message == "StageFailed: token2wav: RuntimeError: out of memory"


def test_a_stage_that_keeps_no_count_fails_its_request_alone(replies: ModuleType) -> None:
    def twice(request: int) -> Generator[int, int, str]:
        yield (yield request)
        return "never"

    few = replies.answer_together([1, 2], double, lambda jobs: [5], "token2wav")
    assert few[0] == "1 -> 5" and "gave no result" in few[1].message
    (second,) = replies.answer_together([1], twice, lambda jobs: [5], "token2wav")
    assert "asked for a second job" in second.message
