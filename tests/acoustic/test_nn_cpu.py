"""Layouts and precisions that a CPU is fast in: the same numbers as the plain modules."""

import copy
import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from paths import EMBEDDED
from token2wav_model import placed, some_prompt, some_tokens, tiny_network
from torch import Tensor

from tritone.acoustic.attention import attend
from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.filter import ChannelsLastFilter
from tritone.acoustic.linear import PackableLinear, pack_for_cpu
from tritone.acoustic.placement import FlowSettings
from tritone.compute import best_dtype
from tritone.families.cosyvoice2.acoustics import load_hift
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.hift import HiFT

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("gelu", [False, True], ids=["added", "GELU"])
@pytest.mark.parametrize("rows", [3, 50])
def test_what_follows_a_packed_product_is_rounded_with_it(rows: int, gelu: bool) -> None:
    """So it is nearer to float32 than what an operator of its own gives."""
    layer = PackableLinear(96, 160, gelu=gelu).bfloat16()
    x, before = torch.randn(1, 10 * rows, 96).bfloat16(), torch.randn(1, 10 * rows, 160).bfloat16()

    def output(dtype: torch.dtype) -> Tensor:
        given = x.to(dtype)
        return layer(given) if gelu else layer.added_to(before.to(dtype), given)

    exact, apart = layer.float() and output(torch.float32), layer.bfloat16() and output(x.dtype)
    pack_for_cpu(layer, 100)
    together, few = (
        output(x.dtype),
        layer(x[:, :3]) if gelu else layer.added_to(before[:, :3], x[:, :3]),
    )
    assert together.dtype == torch.bfloat16
    errors = [(y.float() - exact).square().mean() for y in (together, apart)]
    assert errors[0] < 0.8 * errors[1]
    torch.testing.assert_close(few.float(), exact[:, :3], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("rows", [1, 7, 100, 333])
def test_a_packed_layer_multiplies_any_number_of_rows(rows: int) -> None:
    layer = PackableLinear(96, 160).bfloat16()
    x = torch.randn(2, rows, 96).bfloat16()
    expected = layer(x)
    pack_for_cpu(layer, 100)
    assert layer.packed is not None and not layer.weight.numel()
    torch.testing.assert_close(layer(x), expected, atol=0.02, rtol=0.02)


def test_rows_of_any_number_share_a_few_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = PackableLinear(96, 160).bfloat16()
    pack_for_cpu(layer, 100)
    product, prepared = layer._product, set()
    monkeypatch.setattr(
        layer, "_product", lambda x, before: prepared.add(x[..., 0].numel()) or product(x, before)
    )
    for frames in range(1, 101):  # guided: two rows each
        x = torch.randn(2, frames, 96).bfloat16()
        assert layer(x).shape == (2, frames, 160)
    assert len(prepared) <= 13
    assert 100 in prepared, "a whole chunk is not filled up"


def test_float32_layers_keep_weights_and_values() -> None:
    layer = PackableLinear(96, 160)
    weight, x = layer.weight.clone(), torch.randn(3, 96)
    expected = layer(x)
    pack_for_cpu(layer, 100)
    assert layer.packed is None and torch.equal(layer.weight, weight)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)


def test_bfloat16_is_chosen_for_wide_networks_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cpu_with(**units: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)

    cpu_with(avx512_bf16=True, amx_bf16=False)
    assert best_dtype(CPU, 256) is torch.bfloat16
    assert best_dtype(CPU, 64) is torch.float32
    cpu_with(avx2=True)
    assert best_dtype(CPU, 256) is torch.float32
    assert best_dtype(torch.device("cuda"), 64) is torch.bfloat16


def test_a_flow_in_bfloat16_is_near_the_one_in_float32() -> None:
    prompt, tokens = some_prompt(30), some_tokens(60)
    mels = []
    for dtype in (torch.float32, torch.bfloat16):
        flow = placed(tiny_network(), FlowSettings(dtype=dtype))
        assert flow.euler.settings.cache_dtype is dtype
        assert flow.euler.most_chunks == (1 if dtype is torch.float32 else 4)
        mel, _ = flow.step(tokens, flow.start(prompt).fork(), finalize=True)
        assert mel.dtype is torch.float32
        mels.append(mel)
    apart = (mels[1] - mels[0]).square().mean().sqrt() / mels[0].std()
    assert 0 < apart < 0.03


@pytest.fixture(scope="module")
def vocoder() -> HiFT:
    return load_hift(EMBEDDED, CosyVoice2Config.read(EMBEDDED))


def spectrum_of(vocoder: HiFT, frames: int) -> tuple[Tensor, Tensor]:
    mel = torch.randn(1, vocoder.config.in_channels, frames) - 4
    noise = torch.randn(1, frames * vocoder.config.samples_per_frame) * 0.1
    return mel, vocoder.analyse(noise)


@pytest.mark.parametrize(("dtype", "least_db"), [(torch.float32, 90), (torch.bfloat16, 30)])
@pytest.mark.parametrize("frames", [2, 33])
def test_channels_last_filter_gives_the_same_wave(
    vocoder: HiFT, dtype: torch.dtype, least_db: float, frames: int
) -> None:
    mel, spectrum = spectrum_of(vocoder, frames)
    network = copy.deepcopy(vocoder)
    expected = network.synthesise(network.filter(mel, spectrum))
    found = network.synthesise(ChannelsLastFilter(network, dtype)(mel, spectrum))
    assert 20 * math.log10(expected.norm() / (found - expected).norm()) > least_db


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_over_spans_is_attention_over_all_their_keys(dtype: torch.dtype) -> None:
    query = torch.randn(2, 4, 10, 16).to(dtype)
    key, value = torch.randn(2, 2, 4, 61, 16).to(dtype)
    bounds = [0, 20, 21, 61]
    spans = [Span(key[:, :, a:b], value[:, :, a:b]) for a, b in pairwise(bounds)]
    expected = attend(query.float(), [Span(key.float(), value.float())], [None])
    found = attend(query, spans, [None] * 3).float()
    close = 1e-5 if dtype is torch.float32 else 0.02
    torch.testing.assert_close(found, expected, atol=close, rtol=0)


@pytest.mark.parametrize("last", [4, 3])
def test_a_full_ring_is_one_span_where_order_does_not_matter(last: int) -> None:
    def spans_of(*, in_order: bool) -> list[Span]:
        voice = KeyValueStore(1, 1, 1, 2, chunk=4, left_chunks=2)
        store = voice.fork()
        for chunk in range(5):
            frames = 4 if chunk < 4 else last
            new = torch.full((1, 1, frames, 2), float(chunk))
            spans = store.write(0, new, new, in_order=in_order)
            store.advance(frames)
        return spans

    ordered, loose = spans_of(in_order=True), spans_of(in_order=False)
    seen = [
        torch.cat([s.key for s in spans], dim=2).flatten().sort()[0] for spans in (ordered, loose)
    ]
    assert torch.equal(*seen)
    assert (len(ordered), len(loose)) == (2, 1 if last == 4 else 2)
