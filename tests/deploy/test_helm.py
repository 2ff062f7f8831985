"""The chart: Helm makes of it what Kubernetes takes, and what the launcher understands."""

import json
import re
from typing import get_args

import pytest
import yaml
from cluster_files import (
    APART,
    CHART,
    EVERYTHING,
    HELM,
    Document,
    check,
    container,
    helm,
    pod,
    rendered,
    run,
)
from command_line import options_of
from container_files import only

from tritone.cli.gateway import gateway
from tritone.cli.serve import serve
from tritone.families import known
from tritone.gateway.run import _END_SECONDS
from tritone.launcher.command import UNLOAD_TIMEOUT_S
from tritone.launcher.launch import _KILL_MARGIN_S
from tritone.launcher.settings import Profile

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is missing (make setup-tests)")

PROFILES: tuple[str, ...] = get_args(Profile)
ON_GPU = [name for name in PROFILES if name != "cpu"]
FROM = {
    "image": ("model.path=/models/ours",),
    "pvc": ("model.source=pvc", "model.claim=models", "model.path=cosyvoice2"),
    "hostPath": ("model.source=hostPath", "model.path=/srv/models/cosyvoice2"),
    "initImage": ("model.source=initImage", "model.image=models:1"),
}


def served() -> list[tuple[str, str]]:
    """Each family with each profile that runs it."""
    pairs = [(family, profile) for family in known() for profile in PROFILES]
    return [p for p in pairs if p[0] != "indextts2" or p[1] in ("cpu", "gpu-torch")]


def test_helm_finds_nothing_wrong() -> None:
    done = run(HELM, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("family", "profile"), served())
def test_kubernetes_takes_every_profile_of_every_family(family: str, profile: str) -> None:
    what = (f"family={family}", f"profile={profile}")
    for more in (EVERYTHING, (*APART, "gpu.allocation=claim")):
        check(rendered(*what, *more))


@pytest.mark.parametrize("source", FROM)
def test_kubernetes_takes_a_model_from_anywhere(source: str) -> None:
    for more in ((), APART):
        made = rendered(*FROM[source], *more)
        check(made)
        spec = pod(made)
        mounts = container(spec, "server")["volumeMounts"]
        assert {each["name"] for each in mounts} <= {each["name"] for each in spec["volumes"]}
        folder = "/models/ours" if source == "image" else "/model"
        names = ("tts-tritone", "server"), (f"tts-tritone{'-gateway' if more else ''}", "gateway")
        for deployment, name in names:
            environment = container(pod(made, deployment), name)["env"]
            assert {"name": "TRITONE_MODEL", "value": folder} in environment


@pytest.mark.parametrize(("family", "profile"), served())
def test_the_launcher_takes_the_command_line(family: str, profile: str) -> None:
    made = rendered(f"family={family}", f"profile={profile}", *EVERYTHING, *APART)
    server = container(pod(made), "server")
    image = "cpu" if profile == "cpu" else "gpu"
    assert server["image"] == f"tritone:{image}"
    entry = only(image, "ENTRYPOINT").value
    options = options_of(serve, [*entry[entry.index("serve") + 1 :], *server["args"]])
    assert (options["profile"], options["address"]) == (profile, "0.0.0.0")
    assert options["http_address"] == "0.0.0.0", "with TLS nobody could ask for its health"
    settings = {"max_streams=8", "max_first_audio_seconds=3"}
    assert {f"{family}.{each}" for each in settings} < set(options["changed"])
    assert options["arguments"] == ["--grpc-max-connection-age=300000"]
    beside = container(pod(made, "tts-tritone-gateway"), "gateway")
    assert options_of(gateway, beside["args"])["backend"] == ["tts-tritone:8001"]


def test_a_stop_has_the_time_that_it_may_take() -> None:
    made = rendered("server.exitTimeoutSeconds=33", "server.preStopSeconds=7", *APART)
    spec, alone = pod(made), pod(made, "tts-tritone-gateway")
    server = container(spec, "server")
    assert "--exit-timeout-secs=33" in server["args"]
    pause = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + 33 + UNLOAD_TIMEOUT_S + _KILL_MARGIN_S
    assert (pause, needed + 10 < spec["terminationGracePeriodSeconds"]) == (7, True)
    assert alone["terminationGracePeriodSeconds"] > pause + _END_SECONDS


def test_probes_give_a_start_the_time_that_the_launcher_does() -> None:
    server = container(pod(rendered("server.startTimeoutSeconds=900")), "server")
    for kind, path in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
        assert server[f"{kind}Probe"]["httpGet"]["path"] == f"/v2/health/{path}"
    for kind in ("startup", "liveness"):
        probe = server[f"{kind}Probe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] > 900


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_is_confined(profile: str) -> None:
    made = rendered(f"profile={profile}", *FROM["initImage"], *EVERYTHING)
    spec = pod(made)
    user = int(only("cpu", "USER").value[0].partition(":")[0])
    assert spec["securityContext"]["runAsUser"] == user
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    for each in (*spec["initContainers"], *spec["containers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container(spec, "server")["volumeMounts"]


def test_who_is_on_the_network() -> None:
    made = rendered("networkPolicy.clients[0].podSelector.matchLabels.speaks=yes")
    policy = made["NetworkPolicy/tts-tritone"]["spec"]
    assert policy["egress"] == [] and policy["policyTypes"] == ["Ingress", "Egress"]
    clients, prometheus = policy["ingress"]
    assert clients["from"] == [{"podSelector": {"matchLabels": {"speaks": "yes"}}}]
    assert [port["port"] for port in clients["ports"]] == ["http", "grpc", 8080]
    assert [port["port"] for port in prometheus["ports"]] == ["metrics"], "the API is not theirs"


@pytest.mark.parametrize("more", [(), ("gateway.placement=deployment",)])
def test_an_empty_list_lets_nobody_in(more: tuple[str, ...]) -> None:
    """A rule with no `from` would let everybody in."""
    made = rendered("networkPolicy.clients=null", "networkPolicy.prometheus=null", *more)
    check(made)
    rules = made["NetworkPolicy/tts-tritone"]["spec"]["ingress"]
    assert len(rules) == len(more), "those of the gateway's pods"
    for rule in rules:
        assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
    if more:
        assert made["NetworkPolicy/tts-tritone-gateway"]["spec"]["ingress"] == []
        readers = rendered("networkPolicy.clients=null", *more)
        assert readers["NetworkPolicy/tts-tritone-gateway"]["spec"]["ingress"] == []


@pytest.mark.parametrize("value", ["a: b", "1 # two", "yes", 'say "so"'])
def test_a_value_comes_to_the_command_line_as_it_is(value: str) -> None:
    settings = f"server.settings.token2wav\\.device={value}"
    made = rendered(settings, f"gateway.voiceAliases.ann={value}")
    spec = pod(made)
    assert f"--set=token2wav.device={value}" in container(spec, "server")["args"]
    assert f"--voice-alias=ann={value}" in container(spec, "gateway")["args"]


@pytest.mark.parametrize(
    ("limit", "request_"), [("cpu=1", "1"), ("cpu=1500m", "1500m"), ("cpu=3", "2")]
)
def test_usual_requests_are_within_the_limits(limit: str, request_: str) -> None:
    resources = container(pod(rendered(f"server.resources.limits.{limit}")), "server")["resources"]
    assert str(resources["requests"]["cpu"]) == request_
    assert resources["requests"]["memory"] == "6Gi"
    small = rendered("server.resources.limits.memory=3000Mi")
    assert container(pod(small), "server")["resources"]["requests"]["memory"] == "3000Mi"


@pytest.mark.parametrize("profile", ON_GPU)
@pytest.mark.parametrize("allocation", ["plugin", "claim"])
def test_the_multi_process_service_is_shared(profile: str, allocation: str) -> None:
    """Same GPU, pipes, shared memory and user; before the server, and until it has ended."""
    made = rendered(f"profile={profile}", f"gpu.allocation={allocation}")
    server, mps = (container(pod(made), name) for name in ("server", "mps"))
    assert mps["restartPolicy"] == "Always" and "startupProbe" in mps
    shared = {"/dev/shm", "/tmp/nvidia-mps"}
    both = [{m["mountPath"]: m["name"] for m in each["volumeMounts"]} for each in (server, mps)]
    assert {path: both[0][path] for path in shared} == both[1]
    pipes = {"name": "CUDA_MPS_PIPE_DIRECTORY", "value": "/tmp/nvidia-mps"}
    assert pipes in server["env"] and pipes in mps["env"]
    if allocation == "claim":
        assert mps["resources"]["claims"] == server["resources"]["claims"] == [{"name": "gpu"}]
    else:
        assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert "limits" not in mps["resources"], "the plugin would give it another GPU"


def test_it_can_be_left_out() -> None:
    assert "mps" not in json.dumps(pod(rendered("profile=gpu", "gpu.mps=false")))
    assert "nvidia" not in json.dumps(rendered())


REFUSED = {
    "family=cosyvoice4": "/family",
    "profile=tpu": "/profile",
    "server.threads=0": "/server/threads",
    "server.exitTimeoutSeconds=soon": "/server/exitTimeoutSeconds",
    "server.thread=2": "'thread' not allowed",
    "server.settings.dtype=fp32": "'dtype' does not match",
    "model.source=pvc": "/model/claim",
    "model.source=hostPath": "/model/path",
    "model.source=initImage": "/model/image",
    "server.sharedMemory=lots": "/server/sharedMemory",
    "autoscaling.streamUse=2": "/autoscaling/streamUse",
    "gateway.backends[0]=nowhere": "/gateway/backends/0",
    "family=indextts2,profile=gpu": "profile: gpu does not run indextts2",
    "gateway.open=false": "gateway.keysSecret",
    "service.type=LoadBalancer": "gateway.keysSecret",
    "tls.secret=certificate": "gateway.placement",
    "tls.clientCa=true": "tls.clientCa: true, and tls.secret is empty",
    "server.resources.requests.cpu=2,server.resources.limits.cpu=500m": "limits.cpu: 500m is below",
    "autoscaling.minReplicas=3,autoscaling.maxReplicas=2": "autoscaling.maxReplicas: 2",
}


@pytest.mark.parametrize("values", REFUSED)
def test_bad_values_are_refused_by_name(values: str) -> None:
    done = helm(values)
    assert done.returncode != 0
    assert REFUSED[values] in done.stderr


def described(schema: Document, values: Document, path: str = "") -> list[str]:
    """Values that the schema knows and values.yaml does not have, or the other way round."""
    if "properties" not in schema:
        return []
    known = set(schema["properties"]) - {"global"}
    wrong = [f"{path}/{name}" for name in known ^ set(values)]
    for name in known & set(values):
        wrong += described(schema["properties"][name], values[name], f"{path}/{name}")
    return [each for each in wrong if not re.search(r"/resources/(requests|limits)$", each)]


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert described(schema, values) == []
    assert schema["properties"]["family"]["enum"] == known()
    assert set(schema["properties"]["profile"]["enum"]) == set(PROFILES)
