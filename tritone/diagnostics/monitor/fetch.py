"""One HTTP request, with every way of getting no answer as one error."""

import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass

TIMEOUT_S = 5.0

# A monitor must see the server itself, not what a proxy of the environment says of it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """status: of HTTP, an error's too."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status == 200


def fetch(url: str, data: bytes | None = None, timeout_s: float = TIMEOUT_S) -> Answer:
    """GET, or POST with `data`; raises ConnectionError, with the reason, when nothing answers."""
    try:
        with _OPENER.open(urllib.request.Request(url, data), timeout=timeout_s) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except urllib.error.URLError as error:
        raise ConnectionError(_reason(error.reason)) from error
    except http.client.HTTPException as error:
        raise ConnectionError("what listens there does not speak HTTP") from error
    except OSError as error:
        raise ConnectionError(_reason(error)) from error


def _reason(error: BaseException | str) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
