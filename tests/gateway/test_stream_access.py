"""Who may open a WebSocket, and how much a key may ask for over it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fake_speech import served
from stream_caller import PATH, START, error, heard, say
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tritone.gateway.keys import new_key, write_keys
from tritone.gateway.settings import Address, GatewaySettings

NOBODY = (Address("127.0.0.1:1"),)


class TestAccess:
    @pytest.fixture
    def known(self, tmp_path: Path) -> tuple[GatewaySettings, str]:
        key, record = new_key("a", requests_per_minute=4, streams=1)
        write_keys(tmp_path / "keys.json", [record])
        return GatewaySettings(NOBODY, keys=tmp_path / "keys.json"), key

    @staticmethod
    def refusal(settings: GatewaySettings, **how: Any) -> tuple[int, str]:
        async def run() -> tuple[int, str]:
            async with served(settings) as there:
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(there.url + PATH, **how):
                        pass
                answer = refused.value.response
                return answer.status_code, json.loads(answer.body)["error"]["code"]

        return asyncio.run(run())

    @staticmethod
    def protocol(settings: GatewaySettings, **how: Any) -> str | None:
        async def run() -> str | None:
            async with served(settings) as there, connect(there.url + PATH, **how) as caller:
                return caller.subprotocol

        return asyncio.run(run())

    def test_a_key_in_a_header_or_as_a_subprotocol(
        self, known: tuple[GatewaySettings, str]
    ) -> None:
        settings, key = known
        assert self.refusal(settings) == (401, "invalid_api_key")
        wrong = {"Authorization": f"Bearer {key[:-1]}"}
        assert self.refusal(settings, additional_headers=wrong) == (401, "invalid_api_key")
        right = {"Authorization": f"Bearer {key}"}
        assert self.protocol(settings, additional_headers=right) is None
        named = f"openai-insecure-api-key.{key}"
        assert self.protocol(settings, subprotocols=["realtime", named]) == "realtime"
        assert self.protocol(settings, subprotocols=[named]) == named
        assert self.refusal(settings, subprotocols=[named[:-1]]) == (401, "invalid_api_key")

    def test_pages_of_other_origins_need_leave(self, known: tuple[GatewaySettings, str]) -> None:
        page = "https://page.example"
        closed, to_page = (GatewaySettings(NOBODY, cors_origins=o) for o in ((), (page,)))
        assert self.refusal(closed, origin=page) == (403, "origin_not_allowed")
        assert self.refusal(to_page, origin="https://x.example") == (403, "origin_not_allowed")
        assert self.refusal(closed, origin="null") == (403, "origin_not_allowed")
        self.protocol(to_page, origin=page)
        self.protocol(GatewaySettings(NOBODY, cors_origins=("*",)), origin=page)
        settings, key = known
        self.protocol(settings, origin=page, subprotocols=[f"openai-insecure-api-key.{key}"])

    def test_a_key_s_streams_utterances_and_connections(
        self, known: tuple[GatewaySettings, str]
    ) -> None:
        settings, key = known
        right = {"Authorization": f"Bearer {key}"}

        async def run() -> None:
            async with (
                served(settings) as there,
                connect(there.url + PATH, additional_headers=right) as one,
                connect(there.url + PATH, additional_headers=right) as two,
            ):
                await say(one, {**START, "input": "wait."})
                await heard(one, "started")
                await say(two, {**START, "input": "One."})
                assert (await error(two))["error"]["code"] == "too_many_streams"
                there.speech.gate.set()
                await heard(one, "done")
                for _ in range(2):  # with the two connections, four
                    await say(two, {**START, "input": "One."})
                    await heard(two, "done")
                await say(two, {**START, "input": "One."})
                assert (await error(two))["error"]["code"] == "rate_limit_exceeded"

        asyncio.run(run())

    def test_connections_at_a_time(self) -> None:
        async def run() -> None:
            async with served(max_connections=1) as there, connect(there.url + PATH):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(there.url + PATH):
                        pass
                assert refused.value.response.status_code == 429
                assert b"too_many_connections" in refused.value.response.body

        asyncio.run(run())
