"""Prometheus' rules and Grafana's dashboard: well-formed, and only of metrics that there are."""

import json
import re
from pathlib import Path

import pytest
import yaml
from metrics_scrape import MONITORING, PROJECT, PROMTOOL, Scrape, promtool, text_of

from tritone.launcher import TritonServer
from tritone.synthesis.timing import PARTS, Timing

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian's package prometheus) is missing"
)
METRIC = re.compile(r"\b(?:tritone|nv)_[a-z0-9_]+\b")
ONLY_ON_A_GPU = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"}


def dashboard() -> dict:
    return json.loads((MONITORING / "grafana.json").read_text())


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def rule_expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@needs_promtool
def test_promtool_takes_configuration_and_rules() -> None:
    for what, file in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        done = promtool("check", what, str(MONITORING / file))
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_are_raised_when_they_should_be() -> None:
    done = promtool("test", "rules", str(MONITORING / "rules_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    expressions = [e.replace("$__rate_interval", "5m") for e in dashboard_expressions()]
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_names_the_next_step() -> None:
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) >= 5
    for alert in alerts:
        assert len(alert["annotations"]["description"]) > 20
        assert alert["labels"]["severity"] in ("page", "warn")


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24  # the width of Grafana's grid


def tritone_metrics(names: set[str]) -> set[str]:
    """Ours, histograms by the name of their family."""
    ends = re.compile(r"_(bucket|sum|count)$")
    return {ends.sub("", name) for name in names if name.startswith("tritone_")}


@pytest.mark.server
def test_the_document_names_every_metric_and_no_other(server: TritonServer) -> None:
    text = (PROJECT / "docs" / "monitoring.md").read_text()
    documented = set(re.findall(r"`(tritone_[a-z_]+)`", text))
    assert documented == tritone_metrics(Scrape(text_of(server.urls.metrics)).names)


def test_the_document_names_every_part_and_field() -> None:
    text = (PROJECT / "docs" / "monitoring.md").read_text()
    record = Timing(24000).record()
    for name in (*PARTS, *record):
        assert f"`{name}`" in text, name


@pytest.mark.server
def test_every_metric_named_is_one_that_the_server_has(server: TritonServer) -> None:
    names = Scrape(text_of(server.urls.metrics)).names
    named = {n for e in (*dashboard_expressions(), *rule_expressions()) for n in METRIC.findall(e)}
    assert len(named) > 15
    assert named - names == ONLY_ON_A_GPU
