"""The table that benchmarks/perf.py makes of perf_analyzer's export."""

from types import SimpleNamespace

import pytest
from serving import RATE

from benchmarks import perf
from tritone.launcher.ports import check_free


def request(start_ms: float, arrivals_ms: list[float], packet: int = 2400) -> dict:
    """A stream as perf_analyzer exports it, the empty final response 1 ms after the last packet."""
    stamps = [*arrivals_ms, arrivals_ms[-1] + 1]
    outputs = [{"waveform": [0.0] * packet} for _ in arrivals_ms]
    return {
        "timestamp": int(start_ms * 1e6),
        "response_timestamps": [int(stamp * 1e6) for stamp in stamps],
        "response_outputs": [*outputs, {"waveform": 1.58e29, "timing": ""}],
    }


def test_table_leaves_the_final_response_out():
    requests = [request(0, [200, 300, 500]), request(100, [500, 600, 999])]
    export = {
        "experiments": [
            {"experiment": {"mode": "request_rate", "value": 0.5}, "requests": requests}
        ]
    }
    (row,) = perf.rows(export, RATE)
    assert row.first_packets == pytest.approx((0.2, 0.4))
    assert row.gaps == pytest.approx((0.1, 0.2, 0.1, 0.399))
    assert row.audio_s == pytest.approx(0.6)
    assert row.wall_s == pytest.approx(1.0)
    line = perf.table([row]).splitlines()[-1]
    assert line == "| request rate 0.5 | 2 | 300 / 380 / 398 | 150 / 393 / 399 | 0.60 |"


def test_a_missing_library_is_named(tmp_path):
    with pytest.raises(perf.EnvironmentProblem, match=r"libb64\.so\.0d: no libb64-\*\.so\.0d in"):
        perf.find_analyzer(tmp_path / "perf", tmp_path)


def test_it_measures_beside_a_running_server(monkeypatch):
    started = []

    class Server:
        def __init__(self, settings):
            started.append(settings.ports)
            self.urls = SimpleNamespace(grpc=f"127.0.0.1:{settings.grpc_port}")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait_ready(self):
            pass

    monkeypatch.setattr(perf, "TritonServer", Server)
    with perf.running_server(perf.build_parser().parse_args([])) as url:
        (ports,) = started
        assert url == f"127.0.0.1:{ports['grpc']}"
        check_free("127.0.0.1", ports)
        assert not {8000, 8001, 8002} & set(ports.values())
