"""What the machine allows, and shares of it: counts against counts by hand, and no clock."""

import json
import math
import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from paths import EMBEDDED

from benchmarks import peaks
from benchmarks.earlier import Earlier
from benchmarks.figures import figure, table, write
from benchmarks.full_size import VOCODER
from benchmarks.language_model import Matrices
from benchmarks.operations import counted, least_seconds, limit_of
from benchmarks.parts import Acoustics
from benchmarks.peaks import Peaks
from benchmarks.sentence import least_wall, on_cores
from benchmarks.stages import Stages
from tritone import cli
from tritone.acoustic.placement import FlowSettings
from tritone.cli import bench
from tritone.errors import EnvironmentProblem
from tritone.families import open_model
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.encoder import LOOKAHEAD_KERNEL, UPSAMPLE_KERNEL
from tritone.families.cosyvoice2.estimator import KERNEL
from tritone.families.cosyvoice2.hift import HiFT
from tritone.llm.checkpoint import LLM_DIR
from tritone.llm.head_padding import padded_head_dim
from tritone.llm.onnx.graph import build_graph

ONE = Peaks(read=1.0, fp32=1.0, bf16=1.0, int8=1.0)  # a second for each billion
BILLION = 1e9
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def stages(request: pytest.FixtureRequest) -> Stages:
    settings = FlowSettings(0, dtype=request.param)
    return Stages(Acoustics(open_model(EMBEDDED), settings), ONE, rounds=1)


def test_peaks_have_their_units() -> None:
    found = peaks.measured(rounds=2, side=32, megabytes=1).figures()
    units = {one.name: one.unit for one in found}
    usual = {"peak, memory read": "GB/s", "peak, fp32 product": "GFLOP/s"}
    assert units == usual | {"peak, bf16 product": "GFLOP/s"} | (
        {"peak, int8 product": "GOP/s"} if "peak, int8 product" in units else {}
    )
    assert all(math.isfinite(one.value) and one.value > 0 for one in found)


def test_peaks_are_of_one_thread_and_the_best_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that says what each call took: 4, 2, and 8 seconds."""
    ticks = iter([0.0, 4.0, 10.0, 12.0, 20.0, 28.0])
    calls = []
    monkeypatch.setattr(peaks.time, "process_time", lambda: next(ticks))
    assert peaks._rate(6e9, lambda: calls.append(0), rounds=3) == 3.0
    assert len(calls) == 4, "the first is for warmth"
    before = torch.get_num_threads()
    with peaks.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_share_is_what_is_allowed_over_what_was_taken() -> None:
    allowed = Peaks(read=10.0, fp32=100.0, bf16=200.0, int8=None)
    work = {torch.float32: 10**11, torch.bfloat16: 10**11, torch.float64: 10**11}
    assert least_seconds(work, allowed) == pytest.approx(1.0 + 0.5 + 1.0)
    assert limit_of(work, allowed) == "bf16 and fp32 product"
    assert allowed.seconds_of_products(10**11, torch.int8) == 1.0, "float32's in its place"
    assert allowed.name_for(torch.int8) == "fp32"
    assert allowed.seconds_of_reading(5 * 10**9) == 0.5
    one = figure("step", "s of CPU", [4.0, 2.0, 8.0], least=1.0, limit="memory read")
    assert one.share == 0.25 and figure("plain", "s", [1.0]).share is None
    assert "| step | 4 s of CPU | 2 to 8 | 1 s (memory read) | 25% |" in table([one])


def test_what_a_run_wrote_is_held_against_the_next(tmp_path: Path) -> None:
    old = [figure("peak, memory read", "GB/s", [8.0]), figure("step", "s", [3.0])]
    write(tmp_path / "bench.json", old)
    earlier = Earlier.read(tmp_path / "bench.json")
    now = [figure("peak, memory read", "GB/s", [9.0]), figure("step", "s", [2.0])]
    new = figure("new", "s", [1.0])
    rows = table([*now, new], earlier.values).splitlines()
    assert rows[0] == "| what | measured | old over new |"
    assert rows[3] == "| step | 2 s | 1.50 |" and rows[4] == "| new | 1 s |  |"
    assert earlier.note(now[:1]) == "", "12.5 % more"
    for value in (6.9, 9.3):
        note = earlier.note([figure("peak, memory read", "GB/s", [value])])
        assert f"8 GB/s then and {value:g} now" in note and "measure both again" in note


@pytest.mark.parametrize("content", [None, "{", "[]", '{"figures": [{"name": "x"}]}'])
def test_a_file_that_no_run_wrote_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EnvironmentProblem, match="tritone bench --out DIR"):
        Earlier.read(path)


def estimator_weights(config: CosyVoice2Config) -> int:
    """What each frame is multiplied with, without attention."""
    part, mel = config.flow.estimator, config.flow.output_size
    ch, inner = part.channels, part.num_heads * part.attention_head_dim
    transformer = 3 * ch * inner + inner * ch + 8 * ch * ch
    inputs = [4 * mel, *[ch] * part.num_mid_blocks, 2 * ch]
    resnets = sum(KERNEL * (i + ch) * ch + i * ch for i in inputs)
    between = 3 * KERNEL * ch * ch  # after the way down, after the way up, and the last block
    return resnets + len(inputs) * part.n_blocks * transformer + between + ch * mel


def test_an_estimator_step_is_counted_as_by_hand(stages: Stages) -> None:
    config = CosyVoice2Config.read(EMBEDDED)
    part, chunk = config.flow.estimator, config.flow.chunk_size * config.flow.token_mel_ratio
    layers = (part.num_mid_blocks + 2) * part.n_blocks
    inner = part.num_heads * part.attention_head_dim
    products = 2 * 2 * chunk * estimator_weights(config)
    befores = (0, 2 * chunk)
    found = stages.estimator(befores)
    assert [one.name.split(" after ")[1] for one in found[::3]] == [
        "0 frames",
        f"{2 * chunk} frames",
    ]
    for before, (whole, rest, attention) in zip(
        (0, 2 * chunk), (found[:3], found[3:]), strict=True
    ):
        attended = 2 * layers * 4 * chunk * (chunk + before) * inner
        assert rest.least == pytest.approx(products / BILLION)
        assert attention.least == pytest.approx(attended / BILLION)
        assert whole.least == pytest.approx((products + attended) / BILLION)


@torch.inference_mode()
def test_the_encoder_is_counted_without_rows_that_nobody_asked_for(stages: Stages) -> None:
    """28 rows of tokens are filled up to 30 where layers are packed."""
    flow, part = stages._flow.config, stages._flow.config.encoder
    width, tokens = part.output_size, flow.chunk_size
    frames = tokens * flow.token_mel_ratio
    codes = torch.zeros(tokens, dtype=torch.long)
    ahead = codes[: flow.pre_lookahead_len]
    network, settings = stages._flow.network, stages._flow.euler.settings

    def encode() -> None:
        state = network.start(settings.left_chunks, settings.cache_dtype)
        network.encode_chunk(codes, ahead, state)

    encode()
    with counted() as found:
        encode()
    block = 4 * width * width + 2 * width * part.linear_units
    by_hand = (tokens + len(ahead)) * flow.input_size * width
    by_hand += tokens * (flow.pre_lookahead_len + 1 + LOOKAHEAD_KERNEL) * width * width
    by_hand += tokens * part.num_blocks * block
    by_hand += frames * (UPSAMPLE_KERNEL * width * width + width * width)
    by_hand += frames * (part.num_up_blocks * block + width * flow.output_size)
    assert found.products == {stages._flow.euler.estimator.dtype: 2 * by_hand}
    assert set(found.attention) == {torch.float32}, "whatever the weights are"


def test_a_vocoder_s_convolutions_are_counted_as_by_hand() -> None:
    config = VOCODER.model_copy(update={"base_channels": 32, "f0_channels": 8})
    network, length, inputs = HiFT(config), 6, config.istft_n_fft + 2
    spectrum = torch.randn(1, inputs, length * math.prod(config.upsample_rates) + 1)
    with torch.inference_mode(), counted() as found:
        network.filter(torch.randn(1, config.in_channels, length), spectrum)
    widths = [config.base_channels >> n for n in range(len(config.upsample_rates) + 1)]
    by_hand = 7 * length * config.in_channels * widths[0]
    for index, (before, width) in enumerate(pairwise(widths)):
        by_hand += length * before * width * config.upsample_kernel_sizes[index]
        is_last = index + 2 == len(widths)
        length = length * config.upsample_rates[index] + is_last
        stride = math.prod(config.upsample_rates[index + 1 :])
        by_hand += length * inputs * width * (1 if is_last else 2 * stride)
        taps = [*config.resblock_kernel_sizes, config.source_resblock_kernel_sizes[index]]
        by_hand += length * width * width * sum(2 * 3 * size for size in taps)
    by_hand += 7 * length * widths[-1] * inputs
    assert found.products == {torch.float32: 2 * by_hand} and not found.attention


@pytest.mark.parametrize(
    ("precision", "bits"), [("int8", 8), ("int8_rows", 8), ("int4", 4), ("fp32", 32)]
)
def test_the_language_model_s_weights_are_counted_as_by_hand(
    tmp_path: Path, precision: str, bits: int
) -> None:
    config = CosyVoice2Config.read(EMBEDDED).llm
    graph = build_graph(EMBEDDED / LLM_DIR, config, precision, tmp_path / "llm.onnx")
    found = Matrices.of(graph)
    hidden, head = config.hidden_size, padded_head_dim(config.head_dim)
    heads = head * config.num_attention_heads
    attention = (2 * heads + 2 * head * config.num_key_value_heads) * hidden
    body = config.num_hidden_layers * (attention + 3 * hidden * config.intermediate_size)
    last = config.speech_head_size * hidden
    assert (found.body, found.head) == (body, last)
    assert found.operations(positions=100, parts=2) == 2 * (100 * body + 2 * last)
    stored = (body + last) * bits // 8
    scales = 0 if precision == "fp32" else (body + last) / 32 * 4  # at most
    assert stored <= found.bytes <= 1.02 * stored + scales
    assert found.dtype == (torch.float32 if precision == "fp32" else torch.int8)


@pytest.mark.parametrize(
    ("cores", "seconds"),
    [(1, 6.0), (2, 3.0), (3, 3.0), (4, 2.0), (5, 1.5), (6, 1.0), (8, 1.0), (9, 0.75)],
)
def test_cores_go_to_the_slowest_stage(cores: int, seconds: float) -> None:
    """Of 3, 2 and 1 seconds: no core can do more than a second a second, and a stage with one
    thread is no faster than itself."""
    assert least_wall({"flow": 3.0, "vocoder": 2.0, "rest": 1.0}, cores) == pytest.approx(seconds)


def test_all_threads_are_pinned_and_set_free() -> None:
    before, inside, go = os.sched_getaffinity(0), [], threading.Event()

    def look() -> None:
        go.wait()
        inside.append(os.sched_getaffinity(0))

    older = threading.Thread(target=look)
    older.start()
    with on_cores(1):
        newer = threading.Thread(target=look)
        newer.start()
        go.set()
        older.join()
        newer.join()
    assert inside == [{min(before)}] * 2 and os.sched_getaffinity(0) == before


def test_the_command_is_told_apart_from_the_load_generator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, told in (
        (["--help"], "--full-size"),
        (["--url", "127.0.0.1:1", "--help"], "--concurrency"),
        (["--url=127.0.0.1:1", "--help"], "--concurrency"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(["bench", *words])
        shown = capsys.readouterr().out
        assert ended.value.code == 0 and told in shown and "tritone bench" in shown


def test_without_a_checkout_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "checkout", lambda: None)
    assert cli.main(["bench", "--rounds", "1"]) == 2
    said = capsys.readouterr().err
    assert "clone the project" in said and "--manifest" in said


def test_a_file_to_compare_with_is_looked_at_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "bench.json")
    assert cli.main(["bench", "--out", str(tmp_path), "--against", missing]) == 2
    said = capsys.readouterr().err
    assert f"--against {missing} cannot be read" in said and "peaks" not in said


def test_the_ratios_stand_beside_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peaks, "measured", lambda: Peaks(10.0, 100.0, 200.0, None))
    options = ["--parts", "llm", "--streams", "1", "--steps", "1", "--out", str(tmp_path)]
    assert cli.main(["bench", *options]) == 0
    path = tmp_path / "bench.json"
    written = json.loads(path.read_text())
    for row in written["figures"]:
        row["value"] = row["value"] * 2 if row["name"].startswith("peak") else row["value"]
    path.write_text(json.dumps(written))
    capsys.readouterr()
    assert cli.main(["bench", *options, "--against", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "| peak, memory read | 10 GB/s |  |  | 2.00 |" in shown
    assert "old over new" in shown and "is of another machine" in shown
