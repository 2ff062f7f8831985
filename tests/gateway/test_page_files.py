"""The page's files: how they are sent, and what must not be in them."""

import re

import pytest
from gateway_answers import answers
from paths import PROJECT

from tritone.gateway.settings import Address, GatewaySettings

FOLDER = PROJECT / "tritone" / "gateway" / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())
POLICY = "content-security-policy"
NOBODY = GatewaySettings((Address("127.0.0.1:1"),))


def get(url: str, method: str = "GET", **headers: str) -> dict[str, object]:
    return {"method": method, "url": url, "headers": headers}


def test_the_page_is_there_without_a_server() -> None:
    page, head = answers(NOBODY, get("/"), get("/", "HEAD"))
    assert page.content == (FOLDER / "index.html").read_bytes()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert head.status_code == 200 and head.headers["etag"] == page.headers["etag"]


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_small_and_asks_nobody_else(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    foreign = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not foreign
    assert not re.search(r"\son\w+=|\sstyle=|innerHTML|\beval\(", text), "the policy forbids it"
    (answer,) = answers(NOBODY, get(f"/page/{name}"))
    assert answer.text == text


def test_a_browser_may_keep_them_and_must_ask_again() -> None:
    (first,) = answers(NOBODY, get("/page/main.js"))
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    same, other = answers(
        NOBODY,
        get("/page/main.js", **{"If-None-Match": f'"x", {tag}'}),
        get("/page/main.js", **{"If-None-Match": '"x"'}),
    )
    assert (same.status_code, same.content) == (304, b"")
    assert other.status_code == 200 and other.content == first.content


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    (answer,) = answers(NOBODY, get("/"))
    policy = dict(part.split(" ", 1) for part in answer.headers[POLICY].split("; "))
    assert policy.pop("default-src") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'", "blob:"}
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e/app.py"])
def test_no_other_file_is_sent(name: str) -> None:
    (answer,) = answers(NOBODY, get(f"/page/{name}"))
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


def test_timing_needs_a_place() -> None:
    body = {"model": "tts-1", "input": "a", "timing": True}
    for more in ({}, {"stream_format": "audio"}):
        request = {"method": "POST", "url": "/v1/audio/speech", "json": {**body, **more}}
        (answer,) = answers(NOBODY, request)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("timing: is True; only events carry it")
