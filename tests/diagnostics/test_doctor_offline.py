"""The doctor's checks of offline variables, caches and proxies."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from paths import PROJECT

from tritone.diagnostics.doctor.check import Status, checks_in
from tritone.diagnostics.doctor.checks import offline
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target

PROXY = "http://user:secret@proxy.example:3128"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = (*offline.GRPC_PROXIES, "no_proxy", "no_grpc_proxy", "all_proxy")
    for name in (*offline.SWITCHES, *offline.ENDPOINTS, *offline.HUB_CACHES, *offline.CACHES):
        monkeypatch.delenv(name, raising=False)
    for name in proxies:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(cache_dir=tmp_path / "cache" / "tritone")


@pytest.fixture
def set_all(monkeypatch: pytest.MonkeyPatch):
    def to(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return to


class TestVariables:
    def test_nothing_set(self, target: Target):
        for diagnosis in examine(checks_in(offline), target):
            assert diagnosis.finding.status is Status.PASS, diagnosis.finding

    def test_offline_is_no_fault(self, target: Target, set_all):
        set_all(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="true", HF_ENDPOINT="https://mirror.test")
        found = offline.variables(target)
        assert found.status is Status.PASS
        assert "HF_HUB_OFFLINE=1" in found.text
        assert "HF_ENDPOINT=https://mirror.test" in found.text

    @pytest.mark.parametrize(
        "values, words, fix",
        [
            ({"HF_DATASETS_OFFLINE": "enabled"}, "taken for no", "export HF_DATASETS_OFFLINE=1"),
            (
                {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
                "HF_HUB_OFFLINE goes first",
                "export HF_HUB_OFFLINE=1",
            ),
            ({"HF_ENDPOINT": "mirror.test"}, "HF_ENDPOINT is no URL", "export HF_ENDPOINT=https:"),
        ],
    )
    def test_what_does_not_mean_what_it_seems_to(self, target, set_all, values, words, fix):
        set_all(**values)
        found = offline.variables(target)
        assert found.status is Status.WARN
        assert words in found.text
        assert found.fix.startswith(fix)


class TestCaches:
    def test_a_cache_below_a_file(self, target: Target, tmp_path: Path):
        (tmp_path / "cache").write_text("")
        (found,) = examine([offline.caches], target)
        assert found.finding.status is Status.FAIL
        assert f"{tmp_path / 'cache'} is no folder" in found.finding.text
        assert "--cache-dir" in found.finding.fix

    def test_a_cache_on_a_file_system_that_takes_nothing(self, target: Target):
        found = offline.caches(replace(target, cache_dir=Path("/proc/tritone")))
        assert found.status is Status.FAIL
        assert "cannot be written in /proc" in found.text

    def test_a_cache_that_is_read_only(self, tmp_path: Path):
        """Mounted so in a mount namespace, as a container would have it; root is bound too."""
        unshare = ["unshare", "--user", "--map-root-user", "--mount"]
        if shutil.which("unshare") is None or subprocess.run([*unshare, "true"]).returncode:
            pytest.skip("no mount namespace for this user")
        doctor = f"{sys.executable} -m tritone doctor --only offline.caches --cache-dir {tmp_path}"
        script = f"mount -t tmpfs -o ro tmpfs {tmp_path} && {doctor}"
        done = subprocess.run(
            [*unshare, "sh", "-c", script], cwd=PROJECT, capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert "Read-only file system" in " ".join(done.stdout.split())
        assert "export XDG_CACHE_HOME" in done.stdout

    def test_nothing_is_left_behind(self, target: Target, tmp_path: Path):
        assert offline.caches(target).status is Status.PASS
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "HF_HOME", "MODELSCOPE_CACHE"])
    def test_another_cache_only_warns(self, target: Target, set_all, name):
        set_all(**{name: "/proc/cache"})
        found = offline.caches(target)
        assert found.status is Status.WARN
        assert found.text.startswith(f"{name}=/proc/cache: cannot be written")

    def test_offline_a_hubs_cache_is_read_alone(self, target: Target, set_all):
        set_all(HF_HOME="/proc", HF_HUB_OFFLINE="1")
        assert offline.caches(target).status is Status.PASS
        set_all(HF_HOME="/proc/cache")
        found = offline.caches(target)
        assert found.status is Status.WARN
        assert "HF_HUB_OFFLINE forbids to fill it" in found.text


class TestProxies:
    def test_a_proxy_before_the_local_server(self, target: Target, set_all):
        set_all(http_proxy=PROXY)
        found = offline.proxies(target)
        assert found.status is Status.WARN
        assert "gRPC clients on this machine reach 127.0.0.1 through the proxy" in found.text
        assert found.fix == "export no_proxy=127.0.0.1,localhost"
        assert "secret" not in found.text

    def test_what_is_listed_stays_listed(self, target: Target, set_all):
        set_all(https_proxy=PROXY, no_proxy="intranet.example")
        assert offline.proxies(target).fix.endswith("=intranet.example,127.0.0.1,localhost")

    def test_the_list_of_grpc_goes_first(self, target: Target, set_all):
        set_all(grpc_proxy=PROXY, no_proxy="127.0.0.1", no_grpc_proxy="localhost")
        assert offline.proxies(target).fix.startswith("export no_grpc_proxy=localhost,127")

    @pytest.mark.parametrize(
        "listed, left_out",
        [
            ("127.0.0.1", True),
            ("localhost, 127.0.0.0/8", True),
            (".0.0.1", True),
            ("localhost", False),
            ("*", False),
            ("::1", False),
            ("", False),
        ],
    )
    def test_lists_as_grpc_reads_them(self, listed, left_out):
        assert offline.leaves_out(listed, "127.0.0.1") is left_out

    def test_left_out(self, target: Target, set_all):
        set_all(http_proxy=PROXY, no_proxy="127.0.0.1,localhost")
        found = offline.proxies(target)
        assert found.status is Status.PASS
        assert "http://***@proxy.example:3128" in found.text

    def test_capital_letters_reach_http_clients_alone(self, target: Target, set_all):
        set_all(HTTP_PROXY=PROXY)
        found = offline.proxies(target)
        assert found.status is Status.WARN
        assert "curl" in found.text
        assert "gRPC" not in found.text

    def test_a_star_does_for_http_and_not_for_grpc(self, target: Target, set_all):
        set_all(http_proxy=PROXY, no_proxy="*")
        assert "gRPC does not know *" in offline.proxies(target).text

    def test_a_server_elsewhere_may_be_behind_one(self, target: Target, set_all):
        set_all(https_proxy=PROXY)
        remote = replace(target, address="tts.example")
        assert offline.proxies(remote).fix == "export no_proxy=tts.example"
