"""Which server is asked, when again, and what is given away of a speech that is begun twice."""

from collections.abc import Iterable
from itertools import pairwise

import grpc
import numpy as np
import pytest
from waiting import Clock

from tritone_client import SpeechError, Utterance
from tritone_client.attempts import FADE, Attempts, Joint, Patience, question
from tritone_client.response import Packet, from_grpc, from_stream
from tritone_client.servers import FIRST_PAUSE_S, LONGEST_PAUSE_S, Servers, addresses

GONE = SpeechError("UNAVAILABLE", "failed to connect")
FULL = SpeechError("UNAVAILABLE", "16 streams are running, the limit; retry after 0.4 s")
WRONG = SpeechError("INVALID_ARGUMENT", "speed: is 9.0")
WAVE = np.random.default_rng(1).standard_normal(3000).astype(np.float32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def servers(clock: Clock, count: int = 3, draw: float = 0.5) -> Servers:
    return Servers(["host"] * count, clock, lambda: draw)


def fails(asked: Servers, server: int, error: SpeechError = GONE) -> None:
    with pytest.raises(SpeechError), asked.asked(server):
        raise error


def chosen(asked: Servers, count: int) -> list[int]:
    return [asked.choose() for _ in range(count)]


def test_addresses_are_a_list_or_a_text_with_commas() -> None:
    assert addresses("a:1, b:2,a:1,") == addresses(["a:1", "b:2"]) == ("a:1", "b:2")
    with pytest.raises(ValueError, match="url: has no address in ','"):
        addresses(",")


def test_servers_take_turns_and_one_that_fails_is_left_out_for_ever_longer(clock: Clock) -> None:
    asked = servers(clock)
    assert chosen(asked, 4) == [0, 1, 2, 0]
    pauses = []
    for _ in range(9):
        fails(asked, 1)
        assert 1 not in chosen(asked, 3)
        start = clock.now
        while 1 not in chosen(asked, 3):
            clock.move(FIRST_PAUSE_S / 4)
        pauses.append(clock.now - start)
    assert all(a <= b for a, b in pairwise(pauses)) and pauses[0] < 2 * FIRST_PAUSE_S
    assert pauses[1] > 1.5 * pauses[0] and pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.1)
    with asked.asked(1):
        pass
    fails(asked, 1)
    clock.move(2 * FIRST_PAUSE_S)
    assert 1 in chosen(asked, 3), "one good answer is a new beginning"


def test_one_loss_that_ends_many_streams_is_one_failure(clock: Clock) -> None:
    asked = servers(clock, 2)
    streams = [asked.asked(0) for _ in range(8)]
    for stream in streams:
        stream.__enter__()
    clock.move(1.0)
    for stream in streams:
        assert not stream.__exit__(SpeechError, GONE, None)
    clock.move(2 * FIRST_PAUSE_S)
    assert 0 in chosen(asked, 2)


def test_who_refuses_is_left_out_for_as_long_as_it_says(clock: Clock) -> None:
    asked = servers(clock, 2, draw=0.0)
    for _ in range(5):  # it is well, so the pause does not grow
        fails(asked, 0, FULL)
    clock.move(0.39)
    assert chosen(asked, 2) == [1, 1]
    clock.move(0.02)
    assert 0 in chosen(asked, 2)


def test_an_old_success_says_nothing_of_a_server_that_has_failed_since(clock: Clock) -> None:
    asked = servers(clock, 2)
    with asked.asked(0):
        clock.move(1.0)
        fails(asked, 0, FULL)
    assert chosen(asked, 2) == [1, 1]
    clock.move(0.1)
    with asked.asked(0, lambda: False):  # a question, or who was cancelled
        pass
    assert chosen(asked, 2) == [1, 1]
    with asked.asked(0):
        pass
    assert 0 in chosen(asked, 2)


def test_callers_do_not_come_back_all_at_one_instant(clock: Clock) -> None:
    one = servers(clock, 1)
    found = []
    for draw in (0.0, 0.5, 1.0):
        trying = Attempts(one, Patience(1), clock=clock, draw=lambda draw=draw: draw)
        with trying.next() as server, one.asked(server):
            raise FULL
        found.append(trying.pause)
    assert found == pytest.approx([0.4, 0.5, 0.6])


def test_who_resumes_asks_one_server_again(clock: Clock) -> None:
    assert len(pauses(clock, GONE, heard=[1000])) == 1


def test_a_question_that_nobody_answers_goes_to_the_next(clock: Clock) -> None:
    silent = SpeechError("DEADLINE_EXCEEDED", "Deadline Exceeded")
    trying = Attempts(servers(clock), Patience(), 25.0, clock=clock)
    limits = []
    with pytest.raises(SpeechError, match="DEADLINE_EXCEEDED"):
        while True:
            with trying.next(), question(trying.left) as limit:
                limits.append(limit)
                clock.move(limit)
                raise silent
    assert limits == [10.0, 10.0, 5.0]


def test_where_all_are_left_out_the_one_is_asked_whose_pause_ends_first(clock: Clock) -> None:
    asked = servers(clock)
    for server in (0, 2, 1):
        fails(asked, server)
        clock.move(0.01)
    assert chosen(asked, 3) == [0, 0, 0]


def test_a_bad_request_is_not_the_servers_failure(clock: Clock) -> None:
    asked = servers(clock, 2)
    fails(asked, 0, WRONG)
    assert chosen(asked, 2) == [0, 1]


def pauses(
    clock: Clock,
    error: SpeechError,
    count: int = 1,
    retries: int | None = None,
    timeout: float | None = None,
    heard: Iterable[int] = (),
) -> list[float]:
    """Before each further attempt, until the error is raised. heard: samples of each attempt, where
    a speech is resumed; the last one stands for all that follow."""
    found: list[float] = []
    many, said = servers(clock, count, draw=0.0), [*heard]
    patience = Patience(retries, resume=bool(said))
    trying = Attempts(many, patience, timeout, clock=clock, draw=lambda: 0.0)
    with pytest.raises(SpeechError) as raised:
        while True:
            clock.move(trying.pause)
            with trying.next() as server, many.asked(server):
                trying.joint.take(Packet(WAVE[: said.pop(0) if len(said) > 1 else sum(said)]))
                raise error
            found.append(trying.pause)
    assert raised.value is error
    return found


def test_one_server_is_asked_once_where_nothing_else_is_said(clock: Clock) -> None:
    assert pauses(clock, GONE) == []


def test_further_servers_are_asked_at_once(clock: Clock) -> None:
    assert pauses(clock, GONE, 3) == [0.0, 0.0]


def test_pauses_grow_once_all_were_asked(clock: Clock) -> None:
    assert pauses(clock, GONE, retries=4) == pytest.approx([0.05, 0.1, 0.2, 0.4])
    every = pauses(clock, GONE, 2, retries=3)
    assert every[0] == 0.0 < every[1] < every[2]


def test_the_servers_own_word_on_when_to_come_again_is_kept(clock: Clock) -> None:
    assert pauses(clock, FULL, retries=2) == pytest.approx([0.4, 0.4])


def waiting(clock: Clock, timeout: float | None = None) -> tuple[Servers, Attempts]:
    """Somebody whom the only server has told to come again in 0.4 s."""
    only = servers(clock, 1)
    trying = Attempts(only, Patience(9), timeout, clock=clock, draw=lambda: 0.0)
    with trying.next() as server, only.asked(server):
        raise FULL
    return only, trying


def test_what_another_caller_was_told_meanwhile_is_kept_once(clock: Clock) -> None:
    only, trying = waiting(clock)
    waited = []
    for seconds in trying.pauses():
        waited.append(seconds)
        fails(only, 0, SpeechError("UNAVAILABLE", "full; retry after 3 s"))
        clock.move(seconds)
    assert waited == pytest.approx([0.4, 2.6])


def test_nobody_was_told_anything_meanwhile(clock: Clock) -> None:
    _, trying = waiting(clock)
    waited = []
    for seconds in trying.pauses():
        waited.append(seconds)
        clock.move(seconds)
    assert waited == pytest.approx([0.4])


def test_what_comes_too_late_by_then_is_an_error(clock: Clock) -> None:
    only, trying = waiting(clock, timeout=1.0)
    waits = trying.pauses()
    clock.move(next(waits))
    fails(only, 0, SpeechError("UNAVAILABLE", "full; retry after 3 s"))
    with pytest.raises(SpeechError) as raised:
        next(waits)
    assert raised.value is FULL


def test_a_bad_request_is_never_asked_again(clock: Clock) -> None:
    assert pauses(clock, WRONG, 3, retries=9) == []


def test_nobody_waits_beyond_the_deadline_of_all_attempts(clock: Clock) -> None:
    assert pauses(clock, FULL, retries=99, timeout=1.0) == pytest.approx([0.4] * 2)


def test_what_was_heard_is_not_asked_for_again(clock: Clock) -> None:
    trying = Attempts(servers(clock), Patience(retries=9), clock=clock)
    with pytest.raises(SpeechError, match="failed to connect"), trying.next():
        trying.joint.take(Packet(WAVE[:10]))
        raise GONE


def test_resuming_is_given_up_where_no_more_comes(clock: Clock) -> None:
    assert len(pauses(clock, GONE, retries=2, heard=[1000])) == 2
    assert len(pauses(clock, GONE, retries=2, heard=[1000, 2000, 3000])) == 2 + 2


def test_errors_that_pass_are_those_of_servers() -> None:
    passing = (
        "UNAVAILABLE: vocoder is being started again; retry in a few seconds",
        "INTERNAL: vocoder: its process ended; say it again in a few seconds",
        "INTERNAL: vocoder: Stub process 'vocoder_0_0' is not healthy.",
        "Request for unknown model: 'cosyvoice2' has no available versions",  # Triton, when it ends
    )
    assert all(from_stream(message).passes for message in passing)
    lasting = (
        "INTERNAL: vocoder: gave samples that are not finite",
        "INVALID_ARGUMENT: NOTHING_TO_SAY: target_text: has no words",
        "CANCELLED: nobody wants it",
        "Request for unknown model: 'cosyvoice2' is not found",
    )
    assert not any(from_stream(message).passes for message in lasting)
    assert FULL.retry_after == 0.4 and GONE.retry_after is None


class Ended(grpc.RpcError):
    """As HAProxy ends a stream whose server went away."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))"


def test_a_stream_that_a_proxy_ends_is_not_one_that_the_caller_cancelled() -> None:
    lost = pytest.raises(SpeechError, match=r"UNAVAILABLE: the connection was lost: .*RST_STREAM")
    with lost, from_grpc(None):
        raise Ended


def test_a_seed_is_drawn_where_two_runs_must_be_the_same() -> None:
    said = Utterance("one")
    assert Patience().seeded(said) is said
    drawn = {Patience(resume=True).seeded(said).seed for _ in range(3)}
    assert len(drawn) == 3 and None not in drawn
    assert Patience(resume=True).seeded(Utterance("one", seed=0)).seed == 0
    with pytest.raises(ValueError, match="retries: is -1"):
        Patience(-1)


def heard(runs: list[tuple[np.ndarray, list[int]]], keep: int = FADE) -> np.ndarray:
    """Of runs of one speech, each in packets of these sizes, of which the last one ends well."""
    joint, parts = Joint(keep), []
    for wave, sizes in runs:
        joint.begin()
        for part in np.split(wave, np.cumsum(sizes))[: len(sizes)]:
            parts.append(joint.take(Packet(part)))
    parts.append(joint.rest())
    return np.concatenate([part.samples for part in parts if part is not None])


@pytest.mark.parametrize("first", [[], [1], [239], [240], [241], [700, 1], [1000, 1000, 100]])
@pytest.mark.parametrize("second", [[3000], [100] * 30, [500, 1500, 1000], [7] * 430])
@pytest.mark.parametrize("keep", [0, FADE])
def test_two_runs_of_the_same_samples_are_heard_as_one(
    first: list[int], second: list[int], keep: int
) -> None:
    np.testing.assert_array_equal(heard([(WAVE, first), (WAVE, second)], keep), WAVE)
    again = [(WAVE, first), (WAVE, second[: len(second) // 2]), (WAVE, first), (WAVE, second)]
    np.testing.assert_array_equal(heard(again, keep), WAVE)


@pytest.mark.parametrize("second", [[24000], [100] * 240])
def test_two_runs_that_differ_in_phase_join_without_a_click(second: list[int]) -> None:
    time = np.arange(24000) / 24000
    first, other = (np.sin(2 * np.pi * 120 * time + p).astype(np.float32) for p in (0.0, 2.0))
    joined = heard([(first, [5000, 7000]), (other, second)])
    assert len(joined) == 24000
    given = 12000 - FADE
    np.testing.assert_array_equal(joined[:given], first[:given])
    np.testing.assert_array_equal(joined[12000:], other[12000:])
    steps = np.abs(np.diff(joined))
    assert steps.max() < 1.5 * np.abs(np.diff(first)).max()
    cut = np.concatenate([first[:12000], other[12000:]])
    assert np.abs(np.diff(cut)).max() > 10 * steps.max(), "without a fade it clicks"


def test_a_packet_without_samples_and_the_last_record_get_through() -> None:
    joint = Joint(FADE)
    joint.begin()
    empty = joint.take(Packet(WAVE[:0], {"n": 1}))
    assert empty is not None and empty.timing == {"n": 1}
    assert joint.take(Packet(WAVE[:100], {"n": 2})) is None
    rest = joint.rest()
    assert rest is not None and rest.timing == {"n": 2} and len(rest.samples) == 100
    assert joint.given == 100 and joint.rest() is None
