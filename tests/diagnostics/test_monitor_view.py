"""What the monitor makes of a server's answers: snapshots, screens, lines, and a terminal."""

import json
import os
import re
import signal
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from monitor_pages import HEALTHY, Routes, answering, babbling, drawn, metrics
from monitor_terminal import ENTER, LEAVE, OFTEN, command, terminal
from paths import PROJECT
from toy_server import free_ports
from waiting import HANG_S

from tritone.cli import main
from tritone.diagnostics.monitor.health import address
from tritone.diagnostics.monitor.observer import Observer, SpeechError
from tritone.diagnostics.monitor.report import as_json, as_line
from tritone.diagnostics.monitor.view import ALERT

pytestmark = pytest.mark.slow

ERROR = SpeechError("2026-01-02T03:04:05.678+00:00", "id-7", "failed", "flow: \x1b[2J broke")
STATISTICS = b'{"model_stats": [{"name": "a"}, {"name": "b"}]}'
PAGES = HEALTHY | {"/v2/models/stats": STATISTICS, "/metrics": metrics(3).encode()}


def observer(server: Routes, log: Path | None = None) -> Observer:
    return Observer(address(server.url, server.url), 60, log)


def states(snapshot):
    return {name: model.state for name, model in snapshot.models.items()}


class TestObserver:
    def test_models_by_the_index(self):
        index = (
            b'[{"name": "b", "version": "1", "state": "READY"}, {"name": "a"},'
            b' {"name": "b", "version": "2", "state": "UNAVAILABLE"}]'
        )
        with answering(HEALTHY | {"/v2/repository/index": index}) as server:
            snapshot = observer(server).observe()
        assert snapshot.live and snapshot.ready
        assert states(snapshot) == {"a": "NOT READY", "b": "READY"}
        assert snapshot.figures is None and "answers 404" in snapshot.problems[0]

    def test_models_where_the_index_is_restricted(self):
        with answering(dict(PAGES)) as server:
            watching = observer(server)
            assert states(watching.observe()) == {"a": "READY", "b": "READY"}
            server.routes["/v2/models/stats"] = b'{"model_stats": [{"name": "b"}]}'
            assert states(watching.observe()) == {"a": "NOT READY", "b": "READY"}

    def test_a_server_that_goes_away(self):
        with answering(PAGES) as server:
            watching = observer(server)
            there = watching.observe()
        assert there.away_since is None and there.problems == () and watching.answered
        gone = watching.observe()
        assert gone.away_since == watching.observe().away_since == there.time
        assert gone.live is None and gone.figures is None
        assert gone.problems[0] == f"no answer from http://{server.url}: Connection refused"

    def test_what_is_no_triton(self):
        with answering({"/v2/repository/index": b"<html>", "/metrics": b"<html>"}) as server:
            snapshot = observer(server).observe()
        assert "this is no Triton server" in snapshot.problems[0]
        assert "is no metrics page" in snapshot.problems[1]

    def test_what_does_not_speak_http(self):
        with answering(PAGES) as metrics_page, babbling() as other:
            snapshot = Observer(address(other, metrics_page.url), 60, None).observe()
        assert snapshot.problems == (
            f"no answer from http://{other}: what listens there does not speak HTTP",
        )
        assert snapshot.figures is not None and snapshot.away_since is None


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "triton.log"
    record = {"event": "speech", **vars(ERROR)}
    path.write_text(f"{json.dumps(record)}\n")
    return path


@pytest.fixture
def snapshot(log: Path):
    with answering(dict(PAGES)) as server:
        watching = observer(server, log)
        watching.observe()
        page = metrics(8, firsts=(0, 1, 0, 0, 4), busy_s=4)
        server.routes["/metrics"] = page.encode()
        return watching.observe()


class TestScreen:
    def test_every_part(self, snapshot):
        lines = drawn(snapshot)
        text = "\n".join(lines)
        assert lines[0].startswith(f"Tritone at {snapshot.server}   live yes   ready yes   up -")
        assert re.search(r"^CPU +-   memory - of - GiB$", text, re.M)
        assert re.search(r"^GPU GPU-1 +50 %   memory - of 80\.00 GiB$", text, re.M)
        assert re.search(r"^models +a READY, b READY$", text, re.M)
        assert "streams 3, places 14, LLM generations -, flow sequences -" in text
        requests = lines.index(next(line for line in lines if line.startswith("requests")))
        assert lines[requests + 2].split()[-5:] == ["8", "-", "-", "-", "1"]
        assert re.search(r"^first packet s +>1.00 +>1.00 +>1.00 +>1.00$", text, re.M)
        assert re.search(r"^RTF +- +- +- +-$", text, re.M)
        assert re.search(r"^  since start +- +- +- +- +- +75 % +25 % +-$", text, re.M)
        assert lines[-1].endswith("  failed      id-7  flow: ?[2J broke")
        assert max(map(len, lines[:-2])) <= 80

    def test_columns_are_below_their_names(self, snapshot):
        lines = drawn(snapshot)
        names = next(line for line in lines if line.startswith("parts of time"))
        shares = lines[lines.index(names) + 2]
        assert shares.index("75 %") + 4 == names.index(" flow") + 5
        assert shares.index("25 %") + 4 == names.index(" vocoder") + 8

    def test_a_server_that_is_away(self):
        with answering({}) as server:
            pass
        lines = drawn(observer(server).observe())
        assert lines[0].split("live")[1].split()[0] == "-"
        assert lines[1].startswith(f"{ALERT}nothing answers since ")
        assert lines[2] == f"{ALERT}no answer from http://{server.url}: Connection refused"


class TestLines:
    def test_json_is_complete(self, snapshot):
        record = json.loads(as_json(snapshot))
        assert record["server"] == snapshot.server and record["live"] is True
        assert record["figures"]["requests"]["ok"]["total"] == 8
        assert record["figures"]["measured"]["rtf"]["start"] == {"p50": None, "p95": None}
        assert record["errors"] == [vars(ERROR)]
        assert datetime.fromisoformat(record["time"]).tzinfo == timezone.utc

    def test_words_for_grep(self, snapshot):
        line = as_line(snapshot)
        words = dict(word.split("=", 1) for word in re.findall(r'[^ ]+="[^"]*"|[^ ]+', line))
        assert words["live"] == "1" and words["requests.ok.total"] == "8"
        assert words["first_packet_s.start.p95"] == "1" and words["rtf.start.p95"] == "-"
        assert words["models.a.state"] == "READY" and words["streams"] == "3"
        assert words["last_error.error"] == json.dumps(ERROR.error)
        assert "\n" not in line and "\x1b" not in line


class TestCommand:
    def test_no_server_ever_answered(self):
        options = [
            "--port-base",
            str(free_ports()["http_port"]),
            "--count",
            "2",
            "--interval",
            "0.1",
        ]
        done = subprocess.run(
            command(*options),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.returncode == 1 and not done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 2 and all("live=- " in line for line in lines)
        assert 'problem="no answer from ' in lines[1]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--url", "here"], "--url is 'here'; host:port is needed"),
            (["--count", "0"], "--count is 0; it must be at least 1"),
            (["--interval", "0"], "--interval and --window must be above 0"),
            (["--url", "a:1", "--port-base", "8000"], "not allowed with"),
        ],
    )
    def test_a_wrong_command_line(self, options, message, capsys):
        assert main(["top", *options]) == 2
        assert message in capsys.readouterr().err

    def test_a_reader_that_has_enough(self):
        with (
            answering(PAGES) as server,
            subprocess.Popen(
                command("--url", server.url, "--metrics-url", server.url, "--interval", "0.05"),
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process,
        ):
            assert b"live=1" in process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=HANG_S) == 0 and process.stderr.read() == b""


class TestTerminal:
    @pytest.mark.parametrize(
        ("end", "status"), [("q", 0), (signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)]
    )
    def test_it_is_given_back_on_every_way_out(self, end, status):
        with answering(PAGES) as server, terminal(24, 80, "--url", server.url) as seen:
            seen.wait_for(ENTER + r"[^\x00]*Tritone at")
            if isinstance(end, str):
                os.write(seen.ours, end.encode())
            else:
                seen.process.send_signal(end)
            seen.wait_for(LEAVE + "$")
            assert seen.process.wait(timeout=HANG_S) == status

    def test_a_stop_gives_it_back_until_it_goes_on(self):
        with answering(PAGES) as server, terminal(24, 80, "--url", server.url) as seen:
            seen.wait_for(ENTER + r"[^\x00]*Tritone at")
            seen.process.send_signal(signal.SIGTSTP)
            seen.wait_for(LEAVE + "$")
            seen.wait_until_stopped()
            seen.process.send_signal(signal.SIGCONT)
            seen.wait_for(ENTER)
            os.write(seen.ours, b"q")
            seen.wait_for(LEAVE + "$")
            assert seen.process.wait(timeout=HANG_S) == 0

    def test_its_size_is_kept_to(self):
        with (
            answering(PAGES) as server,
            terminal(5, 20, "--url", server.url, "--metrics-url", server.url, *OFTEN) as seen,
        ):
            frame = seen.wait_for(r"\x1b\[H(?P<frame>[^\x00]*Tritone[^\x00]*?)\x1b\[H")["frame"]
            frame = frame.rpartition("\x1b[H")[2]
            rows = [re.sub(r"\x1b\[[0-9;]*m", "", row) for row in frame.split("\r\n")]
            assert len(rows) == 5 and {len(row) for row in rows} == {20}
            assert all(row.strip() for row in rows)
            seen.resize(50, 100)
            seen.wait_for("parts of time")
            seen.process.send_signal(signal.SIGINT)
            seen.wait_for(LEAVE)
            seen.process.wait(timeout=HANG_S)

    def test_the_last_screen_is_left_on_it(self):
        with (
            answering(PAGES) as server,
            terminal(50, 100, "--url", server.url, "--count", "1") as seen,
        ):
            seen.wait_for(LEAVE + r"\x1b\[1mTritone at [^\x00]*live yes")
            assert seen.process.wait(timeout=HANG_S) == 0
