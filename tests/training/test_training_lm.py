"""Sequences of the language model written out by hand, its tables, and that it learns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trained_work import SENTENCES, Humming, tiny_voice

from training import speech, train_lm
from training.config import LanguageModelConfig, SpeakerConfig
from training.dataset import Track
from training.fsq import CODES, digits_of
from training.language_model import (
    END,
    FILL,
    STOP_ROWS,
    FactoredTable,
    SpeechLanguageModel,
    attention_loss,
    code_features,
)
from training.sequences import MARK, SPEECH, TASK, TEXT, Example, collate, interleaved, plain
from training.teachers import TEACHERS
from training.text_tokens import TextTokens, train_tokenizer
from training.train_lm import Examples

pytestmark = pytest.mark.slow

BATCHES = 6  # of a pool
WORN = 10_000  # what codes of bad recordings have more here
CONFIG: LanguageModelConfig = tiny_voice().language_model.model_copy(
    update={"guided_layers": (1,), "interleaved": 0.8}
)
SMALL = Example(np.array([10, 11]), np.array([0, 0, 1]), np.array([100, 200, 300]), silent=0)
NONE = (-1, -1)


def long_example(texts: int, codes: int, silent: int = 0) -> Example:
    """Codes from 1000 on, read evenly off texts from 20 on."""
    spoken = np.arange(codes) * texts // codes
    return Example(np.arange(20, 20 + texts), spoken, np.arange(1000, 1000 + codes), silent)


def test_plain_sequence() -> None:
    sequence = plain(SMALL)
    assert sequence.kind == [MARK, TEXT, TEXT, MARK, SPEECH, SPEECH, SPEECH]
    assert sequence.ids == [0, 10, 11, 1, 100, 200, 300]
    assert sequence.target == [-1, -1, -1, 100, 200, 300, END]
    assert sequence.aligned == [NONE, NONE, NONE, (1, 2), (1, 2), (2, -1), NONE]
    assert (END, FILL) == (6561, 6563)


def test_a_prompt_is_read_and_not_learned() -> None:
    sequence = plain(Example(SMALL.text, SMALL.spoken, SMALL.codes, silent=2))
    assert sequence.ids == plain(SMALL).ids
    assert sequence.target == [-1, -1, -1, -1, -1, 300, END]
    assert sequence.aligned == [NONE, NONE, NONE, NONE, NONE, (2, -1), NONE]


def test_interleaved_sequence() -> None:
    """Twelve text tokens and forty codes: 5:15, 5:15, 2, task_id, 10."""
    sequence = interleaved(long_example(12, 40))
    text, code = list(range(20, 32)), list(range(1000, 1040))
    assert sequence.ids == [
        *(0, *text[:5], *code[:15]),
        *(*text[5:10], *code[15:30]),
        *(*text[10:], TASK, *code[30:]),
    ]
    quiet = [-1] * 4
    assert sequence.target == [
        *(-1, *quiet, *code[:15], FILL),
        *(*quiet, *code[15:30], FILL),
        *(-1, -1, *code[30:], END),
    ]
    kinds = [MARK, *[TEXT] * 5, *[SPEECH] * 15, *[TEXT] * 5, *[SPEECH] * 15]
    assert sequence.kind == [*kinds, TEXT, TEXT, MARK, *[SPEECH] * 10]


def test_text_that_fills_its_blocks_is_followed_by_task_id() -> None:
    sequence = interleaved(long_example(5, 16))
    assert sequence.ids == [0, *range(20, 25), *range(1000, 1015), TASK, 1015]
    assert sequence.target == [*[-1] * 5, *range(1000, 1015), FILL, 1015, END]


@pytest.mark.parametrize("order", [plain, interleaved])
@pytest.mark.parametrize(("texts", "codes"), [(3, 20), (12, 40), (15, 61), (9, 90)])
def test_alignment_points_back_at_the_text_being_spoken(
    order: Callable[[Example], Any], texts: int, codes: int
) -> None:
    example = long_example(texts, codes)
    sequence = order(example)
    spoken = dict(zip(example.codes.tolist(), example.spoken.tolist(), strict=True))
    aligned = 0
    for place, (target, pair) in enumerate(zip(sequence.target, sequence.aligned, strict=True)):
        assert max(pair) <= place
        for ahead, position in enumerate(pair):
            if position >= 0:
                aligned += 1
                assert sequence.kind[position] == TEXT
                if target < CODES:
                    assert sequence.ids[position] == 20 + spoken[target] + ahead
    assert aligned > codes if order is plain else aligned > 0


def test_collate_pads_on_the_right() -> None:
    batch = collate([plain(SMALL), plain(long_example(1, 2))])
    assert batch.ids.tolist() == [[0, 10, 11, 1, 100, 200, 300], [0, 20, 1, 1000, 1001, 0, 0]]
    assert batch.kind[1].tolist() == [MARK, TEXT, MARK, SPEECH, SPEECH, MARK, MARK]
    assert batch.target[1].tolist() == [-1, -1, 1000, 1001, END, -1, -1]
    assert batch.aligned.shape == (2, 7, 2) and batch.aligned[1, 5:].eq(-1).all()


def test_code_features_tell_every_code_apart() -> None:
    features = code_features(STOP_ROWS)
    assert features.shape[0] == CODES + STOP_ROWS
    assert len(np.unique(features.numpy(), axis=0)) == CODES + STOP_ROWS
    assert set(features[:CODES].sum(dim=1).tolist()) == {17.0}  # 8 digits, 7 pairs, 2 halves
    near, far = (features[a] @ features[b] for a, b in ((0, 1), (0, CODES - 1)))
    assert near > far == 0 and digits_of(torch.tensor(1)).tolist()[0] == 1


def test_folded_tables_are_the_released_rows() -> None:
    torch.manual_seed(0)
    model = SpeechLanguageModel(CONFIG, torch.eye(40))
    for table in (model.text, model.speech, model.head):
        torch.nn.init.normal_(table.residual, std=0.1)
    state = model.upstream_state()
    rows = {"speech_embedding": model.speech, "llm_decoder": model.head}
    rows |= {"llm.model.model.embed_tokens": model.text, "llm.model.lm_head": model.text}
    for name, table in rows.items():
        wanted = table.features.double() @ table.factors.double() + table.residual.double()
        torch.testing.assert_close(state[f"{name}.weight"].double(), wanted, rtol=1e-4, atol=1e-5)
    assert state["llm_embedding.weight"].shape == (2, CONFIG.hidden_size)
    assert "llm.model.model.layers.1.self_attn.q_proj.bias" in state
    assert "llm.model.model.layers.0.mlp.gate_proj.weight" in state


def test_a_table_begins_with_the_spread_asked_for() -> None:
    torch.manual_seed(0)
    table = FactoredTable(code_features(), 64, 0.5)
    assert float(table()[:CODES].detach().std()) == pytest.approx(0.5, rel=0.1)


def test_attention_loss_is_low_where_the_heads_look_at_their_text() -> None:
    scores = torch.full((1, 2, 4, 4), -torch.inf).triu(1)
    aligned = torch.full((1, 4, 2), -1)
    assert attention_loss(scores, aligned) == 0
    aligned[0, 3] = torch.tensor([1, 2])
    uniform = attention_loss(scores, aligned)
    assert float(uniform) == pytest.approx(np.log(4))
    scores[0, 0, 3, 1] = scores[0, 1, 3, 2] = 20.0
    assert attention_loss(scores, aligned) < 1e-3
    aligned[0, 3] = torch.tensor([2, 1])
    assert attention_loss(scores, aligned) > 15


def test_no_position_sees_what_comes_after_it() -> None:
    torch.manual_seed(0)
    model = SpeechLanguageModel(CONFIG, torch.eye(40)).eval()
    whole = model.scores(collate([plain(SMALL)]))
    changed = Example(SMALL.text, SMALL.spoken, np.array([100, 200, 4]), silent=0)
    other = model.scores(collate([plain(changed)]))
    padded = model.scores(collate([plain(SMALL), plain(long_example(9, 30))]))
    assert torch.equal(whole[:3], other[:3]) and not torch.allclose(whole[3], other[3])
    torch.testing.assert_close(padded[:4], whole, rtol=1e-4, atol=1e-4)


def test_a_tiny_model_learns_two_examples() -> None:
    torch.manual_seed(0)
    model = SpeechLanguageModel(CONFIG, torch.eye(40))
    batch = collate([plain(long_example(6, 20)), interleaved(long_example(7, 22))])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    first = float(model(batch)[0].detach())
    for _ in range(60):
        entropy, guide = model(batch)
        optimizer.zero_grad()
        torch.autograd.backward(entropy + 0.2 * guide)
        optimizer.step()
    assert first > 7.0 and float(entropy.detach()) < 0.3
    target = batch.target[batch.target >= 0]
    assert torch.equal(model.eval().scores(batch).argmax(dim=1), target)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of one speaker who begins by himself and of one who only continues."""
    work = tmp_path_factory.mktemp("lm")
    voice, lines = tiny_voice(), [*SENTENCES]
    speaker = SpeakerConfig(
        teacher="humming", first=0, utterances=len(lines), f0_range=(60.0, 450.0)
    )
    (work / "codes").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(TEACHERS, "humming", Humming)
        for name in voice.speakers:
            (work / "speech" / name).mkdir(parents=True)
            speech.write_shard(work / f"speech/{name}/0.npz", lines, speaker, voice.speech)
    tracks = [Track(work, name) for name in voice.speakers]
    for track in tracks:
        codes = np.arange(track.tokens, dtype=np.int16)
        np.save(work / f"codes/{track.speaker}.npy", codes)
        np.save(work / f"codes/{track.speaker}_worn.npy", WORN + codes)
    train_tokenizer(tracks[0].texts * 3, voice.text, work / "tokenizer.json")
    return work


@pytest.fixture()
def tracks(work: Path) -> list[Track]:
    return [Track(work, name) for name in tiny_voice().speakers]


@pytest.fixture()
def examples(work: Path, tracks: list[Track], monkeypatch: pytest.MonkeyPatch) -> Examples:
    monkeypatch.setattr(train_lm, "HELD_OUT", 2)
    monkeypatch.setattr(train_lm, "POOL", BATCHES)
    return Examples(tracks, work / "tokenizer.json", CONFIG)


def test_an_example_joins_utterances(examples: Examples, tracks: list[Track], work: Path) -> None:
    track, tokens = tracks[0], TextTokens(work / "tokenizer.json")
    example = examples._join(track, [1], [0], tokens)
    ids = [tokens.encode(track.texts[i], track.ends[i])[0] for i in (1, 0)]
    assert np.array_equal(example.text, np.concatenate(ids))
    first, second = (np.arange(track.starts[i], track.starts[i + 1]) for i in (1, 0))
    assert np.array_equal(example.codes, np.concatenate([first, second]))
    assert example.silent == len(first)
    assert len(example.spoken) == len(example.codes) and (np.diff(example.spoken) >= 0).all()
    assert example.spoken[len(first) - 1] < len(ids[0]) <= example.spoken[len(first)]
    assert example.spoken[-1] == len(example.text) - 1
    poor = examples._join(track, [1], [0], tokens, worn=True)
    assert np.array_equal(poor.codes, np.concatenate([WORN + first, second])), "the prompt alone"


def test_batches_stay_within_the_budget(examples: Examples, tracks: list[Track]) -> None:
    batches = examples.batches(0)
    assert len(batches) == BATCHES
    assert all(batch.ids.numel() <= CONFIG.batch_tokens for batch in batches)
    targets = torch.cat([batch.target.flatten() for batch in batches])
    assert (targets == END).sum() == sum(len(batch.ids) for batch in batches)
    assert (targets == FILL).any()
    heart, joe = tracks
    held_out = {*range(heart.starts[-3], heart.tokens), *range(joe.starts[-3], joe.tokens)}
    assert not held_out & set(targets.tolist())


def test_validation_reads_the_held_out_utterances(examples: Examples, tracks: list[Track]) -> None:
    heart, joe = tracks
    own, continued = (examples.validation(track) for track in (heart, joe))
    found = torch.cat([batch.target[batch.target >= 0] for batch in own]).tolist()
    last, end = heart.starts[-3], heart.starts[-2]
    assert found == [*range(last, end), END]
    found = torch.cat([batch.target[batch.target >= 0] for batch in continued]).tolist()
    assert found == [*range(joe.starts[-2], joe.tokens), END]


def test_seed_and_pool_decide_the_batches(
    examples: Examples, tracks: list[Track], work: Path
) -> None:
    config = CONFIG.model_copy(update={"bpe_dropout": 0.0})
    whole = Examples(tracks, work / "tokenizer.json", config)
    first, same, other = (whole.batches(pool) for pool in (0, 0, 1))
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first, same, strict=True))
    assert [b.ids.tolist() for b in first] != [b.ids.tolist() for b in other]
