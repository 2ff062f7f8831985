"""The monitor without a Triton server: scrapes as text, logs and addresses."""

import numpy as np
import pytest
from monitor_pages import BOUNDS, GIB, metrics, printed
from rich.text import Text

from tritone.diagnostics.monitor.figures import Device, figures
from tritone.diagnostics.monitor.health import Address, address
from tritone.diagnostics.monitor.observer import SpeechError, SpeechLog
from tritone.diagnostics.monitor.scrape import Histogram, Window, parse
from tritone.diagnostics.monitor.view import Fitted, duration, number, printable, three_digits
from tritone.synthesis.timing import PARTS


class TestHistogram:
    @pytest.mark.parametrize(
        ("counts", "q", "expected"),
        [
            ((10, 10, 10, 10, 10), 0.5, 0.05),  # half way through the first bucket, from 0 on
            ((0, 4, 8, 8, 8), 0.5, 0.2),  # exactly a bound
            ((0, 4, 8, 8, 8), 0.75, 0.35),
            ((1, 2, 3, 4, 4), 0.95, 0.9),
            ((0, 0, 0, 0, 5), 0.5, 1.0),  # above all bounds: the highest
            ((0, 0, 0, 0, 0), 0.5, None),
        ],
    )
    def test_quantiles_as_prometheus_estimates_them(self, counts, q, expected):
        estimate = Histogram(BOUNDS, counts).quantile(q)
        assert estimate == (None if expected is None else pytest.approx(expected))

    @pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
    def test_an_estimate_is_within_its_bucket_of_the_exact_quantile(self, q):
        values = np.random.default_rng(0).gamma(2.0, 0.15, 2000)
        bounds = tuple(np.arange(1, 31) * 0.05)
        counts = [float((values <= bound).sum()) for bound in bounds]
        histogram = Histogram(bounds, (*counts, 2000.0))
        assert histogram.quantile(q) == pytest.approx(np.quantile(values, q), abs=0.05)

    def test_what_was_observed_since(self):
        then, now = Histogram((1.0,), (2, 3)), Histogram((1.0,), (2, 7))
        assert now.since(then) == Histogram((1.0,), (0, 4))
        assert then.since(now) is None, "a server that counts anew"
        assert now.since(Histogram((2.0,), (2, 3))) is None


class TestScrape:
    def test_values_by_labels(self):
        scrape = parse(metrics(5))
        assert scrape.value("tritone_requests_total", outcome="ok") == 5
        assert scrape.value("tritone_requests_total") == 6
        assert scrape.value("tritone_requests_total", outcome="refused") is None
        assert scrape.value("tritone_nothing") is None

    def test_tritons_counters_lack_the_suffix_on_the_page(self):
        scrape = parse(metrics(5))
        assert scrape.value("nv_inference_request_success_total", model="vocoder") == 7
        names = scrape.label_values("nv_inference_request_success_total", "model")
        assert names == ["vocoder", "cosyvoice2"]

    def test_a_number_that_is_none(self):
        assert parse(metrics()).value("nv_gpu_utilization") == 0.5

    def test_histograms(self):
        scrape = parse(metrics(firsts=(1, 2, 0, 0, 1)))
        expected = Histogram(BOUNDS, (1, 3, 3, 3, 4))
        assert scrape.histogram("tritone_first_packet_seconds") == expected
        assert scrape.histogram("tritone_rtf") is None

    def test_histograms_of_several_labels_add_up(self):
        scrape = parse(metrics(4, busy_s=8))
        assert scrape.histogram("tritone_part_seconds", part="flow") == Histogram((), (4,))
        assert scrape.histogram("tritone_part_seconds") == Histogram((), (8,))

    def test_what_is_no_metrics_page(self):
        with pytest.raises(ValueError):
            parse("<html><body>hello</body></html>")


class TestWindow:
    def test_rates_over_the_window_alone(self):
        window = Window(60)
        for at, requests in ((0, 0), (40, 10), (70, 40), (101, 41)):
            window.add(at, parse(metrics(requests)))
        assert window.span_s == 61, "the youngest scrape that is a window old, and all after it"
        assert window.increase("tritone_requests_total", outcome="ok") == 31
        assert window.rate("tritone_requests_total", outcome="ok") == pytest.approx(31 / 61)

    def test_one_scrape_tells_no_rate(self):
        window = Window(60)
        window.add(0, parse(metrics(3)))
        assert window.span_s is None
        assert window.rate("tritone_requests_total") is None
        assert window.histogram("tritone_first_packet_seconds") is None

    def test_a_histogram_of_the_window(self):
        window = Window(60)
        window.add(0, parse(metrics(9, firsts=(9, 0, 0, 0, 0))))
        window.add(10, parse(metrics(11, firsts=(9, 0, 2, 0, 0))))
        recent = window.histogram("tritone_first_packet_seconds")
        assert recent.counts[-1] == 2 and recent.quantile(0.5) == pytest.approx(0.35)

    def test_a_server_that_was_started_anew(self):
        window = Window(60)
        window.add(0, parse(metrics(9)))
        window.add(10, parse(metrics(2)))
        assert window.span_s is None, "what was before is another server's"
        window.add(20, parse(metrics(4)))
        assert window.rate("tritone_requests_total", outcome="ok") == pytest.approx(0.2)

    def test_a_metric_that_is_gone_for_a_while(self):
        window = Window(60)
        window.add(0, parse(metrics(2)))
        window.add(10, parse(""))
        assert window.rate("tritone_requests_total") is None


class TestFigures:
    @pytest.fixture
    def seen(self):
        window = Window(60)
        window.add(0, parse(metrics(9, firsts=(9, 0, 0, 0, 0), busy_s=4)))
        window.add(10, parse(metrics(14, firsts=(9, 0, 0, 0, 5), busy_s=12)))
        return figures(window)

    def test_amounts(self, seen):
        ok = seen.requests["ok"]
        assert (ok.total, ok.window, ok.per_s) == (14, 5, 0.5)
        assert seen.requests["refused"].total is None
        now = {"streams": 3, "stream_places": 14, "llm_generations": None, "flow_sequences": None}
        assert seen.now == now

    def test_spreads(self, seen):
        first = seen.measured["first_packet_s"]
        assert first.window.p50 == first.limit == 1.0
        assert first.start.p50 == pytest.approx(0.1 * 7 / 9)
        assert seen.measured["rtf"].start.p50 is None

    def test_parts(self, seen):
        assert tuple(seen.parts) == PARTS
        assert seen.parts["flow"].window == seen.parts["flow"].start == pytest.approx(0.75)
        assert seen.parts["send"].window is None

    def test_gpus(self, seen):
        assert seen.gpus["GPU-1"] == Device(0.5, None, 80 * GIB)
        assert seen.gpus["GPU-2"] == Device(None, None, 80 * GIB)


class TestLog:
    LINE = (
        '{"event": "speech", "time": "2026-01-02T03:04:05Z", "id": "a", '
        '"outcome": "%s", "error": "%s"}\n'
    )

    def test_errors_are_followed(self, tmp_path):
        path = tmp_path / "triton.log"
        path.write_text("I0102 server.cc:1] hello\n" + self.LINE % ("ok", "") + "{broken\n")
        log = SpeechLog(path)
        assert log.read() is None and log.errors == ()
        with path.open("a") as file:
            file.write(self.LINE % ("failed", "flow: broke") + (self.LINE % ("refused", "no"))[:30])
        log.read()
        expected = SpeechError("2026-01-02T03:04:05Z", "a", "failed", "flow: broke")
        assert log.errors == (expected,)
        with path.open("a") as file:
            file.write((self.LINE % ("refused", "no"))[30:] + self.LINE % ("cancelled", "gone"))
        log.read()
        assert [error.outcome for error in log.errors] == ["failed", "refused"]

    def test_a_new_log_in_the_place_of_the_old(self, tmp_path):
        path = tmp_path / "triton.log"
        path.write_text("x" * 1000 + "\n")
        log = SpeechLog(path, keep=2)
        log.read()
        path.rename(tmp_path / "triton.log.1")
        assert "No such file" in log.read() and "--log" in log.read()
        path.write_text("".join(self.LINE % ("failed", number) for number in range(3)))
        assert log.read() is None
        assert [error.error for error in log.errors] == ["1", "2"], "the last ones"

    def test_json_that_is_not_ours(self, tmp_path):
        path = tmp_path / "triton.log"
        path.write_text('{"event": "load"}\n{}\n' + '{"event": "speech", "outcome": "failed"}\n')
        log = SpeechLog(path)
        log.read()
        assert log.errors == (SpeechError("", "", "failed", ""),)


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "metrics_url", "expected"),
        [
            ("localhost:8000", None, ("http://localhost:8000", "http://localhost:8002/metrics")),
            ("http://[::1]:90/", None, ("http://[::1]:90", "http://[::1]:92/metrics")),
            ("https://a:443", "b:9/m", ("https://a:443", "http://b:9/m")),
            ("10.0.0.1:8000", "b:9", ("http://10.0.0.1:8000", "http://b:9/metrics")),
        ],
    )
    def test_urls(self, url, metrics_url, expected):
        assert address(url, metrics_url) == Address(*expected)

    @pytest.mark.parametrize("url", ["localhost", "grpc://a:1", "a:b", "a:99999", ":8000"])
    def test_what_is_no_address(self, url):
        with pytest.raises(ValueError, match=r"--url .* host:port is needed"):
            address(url)

    @pytest.mark.parametrize(
        ("host", "local"),
        [("127.0.0.1", True), ("[::1]", True), ("localhost", True), ("192.0.2.1", False)],
    )
    def test_this_machine(self, host, local):
        assert address(f"{host}:8000").is_local is local


class TestText:
    def test_numbers(self):
        values = (None, 0.0, 12.0, 0.01234, 0.5, 1.2345, 56.78, 999.6, 12345.6)
        shown = ["-", "0", "12", "0.0123", "0.500", "1.23", "56.8", "1000", "12346"]
        assert [number(value) for value in values] == shown
        assert [three_digits(value) for value in (None, 0.0, 2.0, 0.5)] == [
            "-",
            "0.00",
            "2.00",
            "0.500",
        ]

    def test_durations(self):
        assert duration(None) == "-"
        seconds = (3.2, 119, 600, 3 * 3600 + 300, 50 * 3600)
        assert [duration(s) for s in seconds] == ["3 s", "119 s", "10 min", "3 h 5 min", "2 d 2 h"]

    def test_a_message_cannot_move_the_cursor(self):
        assert printable("a\x1b[2Jb\x9bc\nd") == "a?[2Jb?c d"

    def test_wide_characters_take_two_columns(self):
        assert printed(Fitted(Text("你好 world")), columns=5) == "你好 \n"
        assert printed(Fitted(Text("你好")), columns=3) == "你 \n"
