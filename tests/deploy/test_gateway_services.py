"""The gateways' services beside the servers', as docker-compose.yml has them."""

import re

import pytest
from command_line import options_of
from container_files import GATEWAYS, SERVERS, TARGETS, compose, only, stage

from tritone.cli.gateway import gateway
from tritone.gateway.settings import GatewaySettings


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_gateway_is_beside_each_server(service: str) -> None:
    beside = compose()["services"][service]
    assert beside["image"] == f"tritone:{GATEWAYS[service]}"
    assert beside["entrypoint"] == ["tritone", "gateway"]
    options = options_of(gateway, beside["command"])
    (backend,) = options["backend"]
    assert (options["address"], options["open_to_all"]) == ("0.0.0.0", True)
    assert beside["ports"] == [f"127.0.0.1:8080:{options['port']}"]
    profiles = set(beside["profiles"])
    servers = [s for n, s in compose()["services"].items() if n in SERVERS]
    for server in [s for s in servers if profiles & set(s["profiles"])]:
        assert f"{server['networks']['default']['aliases'][0]}:8001" == backend
    for target in TARGETS:
        installs = " ".join(run.value[0] for run in stage(target)["RUN"])
        assert re.search(r"/src\[[a-z,]*gateway\]", installs)
        assert "--no-gateway" in only(target, "ENTRYPOINT").value


def test_a_gateway_s_keys_are_mounted_where_it_reads_them() -> None:
    for name in GATEWAYS:
        without = compose()["services"][name]
        assert without["environment"]["TRITONE_KEYS"] == ""
        with_keys = compose(KEYS="/etc/keys.json")["services"][name]
        mount, *_ = with_keys["volumes"]
        assert mount["source"] == "/etc/keys.json" and mount["read_only"]
        assert with_keys["environment"]["TRITONE_KEYS"] == mount["target"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_s_limits_and_aliases_arrive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = options_of(gateway, compose()["services"][name]["command"])
    assert usual["max_connections"] == GatewaySettings.max_connections
    assert usual["idle_seconds"] == GatewaySettings.idle_seconds
    assert usual["stall_seconds"] == GatewaySettings.stall_seconds
    chosen = {"MAX_CONNECTIONS": "7", "IDLE_SECONDS": "8", "STALL_SECONDS": "9"}
    service = compose(**chosen, VOICE_ALIASES="alloy=heart nova=joe")["services"][name]
    aliases = service["environment"]["TRITONE_VOICE_ALIASES"]
    monkeypatch.setenv("TRITONE_VOICE_ALIASES", aliases)
    given = options_of(gateway, service["command"])
    limits = given["max_connections"], given["idle_seconds"], given["stall_seconds"]
    assert limits == (7, 8, 9) and given["voice_alias"] == ["alloy=heart", "nova=joe"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_voices_that_a_gateway_adds_are_there_for_its_servers(name: str) -> None:
    for variables in ({}, {"MODEL": "/data/voice"}):
        document = compose(**variables)
        services = document["services"]
        beside = services[name]
        options = options_of(gateway, beside["command"])
        registry = str(options["voices"])
        assert f"voices:{registry}" in beside["volumes"] and "voices" in document["volumes"]
        _, model, _ = beside["volumes"]
        profiles = set(beside["profiles"])
        for server in (services[n] for n in SERVERS):
            if profiles & set(server["profiles"]):
                assert server["environment"]["TRITONE_VOICES"] == registry
                assert f"voices:{registry}:ro" in server["volumes"]
                assert server["volumes"][0] == model, "the same encoders"
                same = server["environment"]["TRITONE_MODEL"]
                assert beside["environment"]["TRITONE_MODEL"] == same
    made = stage(GATEWAYS[name])["RUN"][0].value[0]
    assert f"install -d -o tritone -g tritone {registry}" in made, "a volume takes its owner"
