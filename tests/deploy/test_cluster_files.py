"""What scales the chart, and the files for who has no Helm: kustomize's and KServe's."""

import re
from pathlib import Path

import pytest
import yaml
from cluster_files import (
    APART,
    CHART,
    DEPLOY,
    EVERYTHING,
    HELM,
    KUBECTL,
    Document,
    check,
    container,
    documents,
    named,
    pod,
    rendered,
    run,
)
from metrics_scrape import PROMTOOL, promtool

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is missing (make setup-tests)")


def scaled_by() -> set[str]:
    scaler = rendered(*EVERYTHING)["HorizontalPodAutoscaler/tts-tritone"]["spec"]
    return {metric["pods"]["metric"]["name"] for metric in scaler["metrics"]}


def adapter_rules() -> list[Document]:
    values = yaml.safe_load((DEPLOY / "helm" / "prometheus-adapter.yaml").read_text())
    rules: list[Document] = values["rules"]["custom"]
    return rules


def test_what_scales_is_what_the_adapter_tells() -> None:
    assert scaled_by() == {rule["name"]["as"] for rule in adapter_rules()}
    made = rendered(*EVERYTHING)
    assert "replicas" not in made["Deployment/tts-tritone"]["spec"], "the scaler's are kept"


def expression(rule: Document) -> str:
    """As the adapter asks Prometheus for the pods of a namespace."""
    series = re.match(r"\w+", rule["seriesQuery"])
    assert series
    parts = {"Series": series[0], "LabelMatchers": 'namespace="a",pod=~"b|c"', "GroupBy": "pod"}
    filled: str = re.sub(r"<<\.(\w+)>>", lambda found: parts[found[1]], rule["metricsQuery"])
    return filled


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is missing")
def test_prometheus_answers_what_the_adapter_asks(tmp_path: Path) -> None:
    labels = 'namespace="a",pod="b"'
    test = {
        "interval": "30s",
        "input_series": [
            {"series": f"tritone_streams{{{labels}}}", "values": "6x4"},
            {"series": f"tritone_stream_places{{{labels}}}", "values": "8x4"},
        ],
        "promql_expr_test": [
            {
                "expr": expression(rule),
                "eval_time": "2m",
                "exp_samples": [{"labels": '{pod="b"}', "value": value}],
            }
            for rule, value in zip(adapter_rules(), (6, 0.75), strict=True)
        ],
    }
    file = tmp_path / "adapter_test.yml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_monitor_finds_the_service_with_the_metrics() -> None:
    made = rendered(*EVERYTHING)
    monitor = made["ServiceMonitor/tts-tritone"]["spec"]
    service = made["Service/tts-tritone-servers"]
    wanted = monitor["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {p["name"] for p in service["spec"]["ports"]}
    others = (made[f"Service/tts-tritone{end}"]["metadata"]["labels"] for end in ("", "-gateway"))
    assert not any(wanted.items() <= other.items() for other in others), "none is scraped twice"


def test_services_lead_to_pods() -> None:
    for more in ((), APART):
        made = rendered(*more)
        pods = [d["spec"]["template"] for name, d in made.items() if name.startswith("Deployment")]
        for name, service in made.items():
            if not name.startswith("Service/"):
                continue
            chosen = service["spec"]["selector"].items()
            found = [each for each in pods if chosen <= each["metadata"]["labels"].items()]
            assert len(found) == 1, name
            spec = found[0]["spec"]
            all_of_them = (*spec.get("initContainers", ()), *spec["containers"])
            ports = [port for each in all_of_them for port in each.get("ports", ())]
            open_ = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_


def test_the_kustomize_base_is_the_chart() -> None:
    done = run(HELM, "template", "tritone", str(CHART))
    kept = (DEPLOY / "kustomize" / "base" / "tritone.yaml").read_text()
    assert named(documents(kept)) == named(documents(done.stdout)), "its head says how to make it"


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is missing (make setup-tests)")
def test_kustomize_makes_the_example() -> None:
    done = run(KUBECTL, "kustomize", str(DEPLOY / "kustomize" / "example"))
    assert done.returncode == 0, done.stderr
    made = named(documents(done.stdout))
    check(made)
    spaces = {each["metadata"].get("namespace") for each in made.values()} - {None}
    assert {f"Namespace/{space}" for space in spaces} < set(made), "it is there to be applied to"
    server = container(pod(made, "tritone"), "server")
    assert server["image"] == "registry.example.com/tritone:cpu"
    assert {"name": "TRITONE_MODEL", "value": "/model"} in server["env"]


def test_the_kserve_example_is_the_chart_s_server() -> None:
    """Where they differ: KServe's name, its port's, and no gateway."""
    (service,) = documents((DEPLOY / "kserve" / "inferenceservice.yaml").read_text())
    spec = dict(service["spec"]["predictor"])
    assert spec.pop("minReplicas") == 1
    metadata = {"name": "x", "labels": {"app.kubernetes.io/name": "tritone"}}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    check({"Pod/x": made})
    ours, theirs = container(pod(rendered()), "server"), container(spec, "kserve-container")
    for same in ("lifecycle", "securityContext", "resources"):
        assert theirs[same] == ours[same]
    assert {"--exit-timeout-secs=120", "--grpc-max-connection-age=300000"} < set(ours["args"])
    assert set(theirs["args"]) <= set(ours["args"])
    ports = {"http": 8000}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = dict(ours[probe]["httpGet"], port=ports[ours[probe]["httpGet"]["port"]])
        assert theirs[probe]["httpGet"] == asked
        assert theirs[probe]["failureThreshold"] == ours[probe]["failureThreshold"]
