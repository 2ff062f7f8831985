"""Ray in this process: an actor does what it is asked as soon as it is asked."""

from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """A process or a machine is gone."""


class RayTaskError(RayError):
    """An actor's method has raised the cause."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Died(BaseException):
    """Raised by an actor's method: its process ends there."""


class _Method:
    def __init__(self, ray: "FakeRay", actor: "_Actor", name: str) -> None:
        self._ray, self._actor, self._name = ray, actor, name

    def remote(self, *given: Any) -> int:
        method = getattr(self._actor.made, self._name)
        return self._ray.answered(self._actor, lambda: method(*given))


class _Actor:
    def __init__(self, ray: "FakeRay", made: Any) -> None:
        self.made, self.dead = made, False
        self.open, self.speak = _Method(ray, self, "open"), _Method(ray, self, "speak")


class FakeRay:
    """The module, with so many cores. Answers are given in the order of the calls, so what two
    workers do alternates. hired: of how many cores and GPUs each actor is. shut: whether it was
    shut down."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cores: int = 2) -> None:
        self._cores, self._numbers = cores, count()
        self._answers: dict[int, Any] = {}
        self.hired: list[dict[str, int]] = []
        self.slow = 0  # how often `wait` gives nothing where it may
        self.shut = False

    def init(self, address: str, **_: Any) -> None:
        self.address = address

    def shutdown(self) -> None:
        self.shut = True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(self._cores)}}]

    def available_resources(self) -> dict[str, float]:
        return {"CPU": float(self._cores)}

    def remote(self, kind: type) -> Any:
        def make(job: Any) -> _Actor:
            return _Actor(self, kind(job))

        def options(**given: int) -> Any:
            self.hired.append(given)
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def answered(self, actor: _Actor, call: Callable[[], Any]) -> int:
        number = next(self._numbers)
        try:
            self._answers[number] = RayError("was dead") if actor.dead else call()
        except Died as death:
            actor.dead = True
            self._answers[number] = RayError(str(death))
        except Exception as error:
            self._answers[number] = RayTaskError(error)
        return number

    def wait(
        self, calls: Sequence[int], *, num_returns: int, timeout: float | None
    ) -> tuple[list[int], list[int]]:
        assert num_returns == 1 and calls, "or it would wait for ever"
        if timeout is not None and self.slow:
            self.slow -= 1
            return [], list(calls)
        return [min(calls)], [call for call in calls if call != min(calls)]

    def get(self, call: int) -> Any:
        answer = self._answers.pop(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: _Actor, *, no_restart: bool) -> None:
        actor.dead = True
