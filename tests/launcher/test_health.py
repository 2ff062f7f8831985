"""When the process of a model is to be replaced, look by look."""

from dataclasses import replace

from tritone.launcher.health import LOOK_S, Beat, Health, HealthLimits, Sight

IDLE = Sight(Beat(0, 5), stopped=False, cpu_s=1.0, resident=100 << 20)
SILENT = replace(IDLE, beat=None)
ENOUGH = 1000  # looks


def verdicts(health: Health, *sights: Sight) -> list[str]:
    return [health.judge(sight) for sight in sights]


def test_an_idle_process_is_left_alone() -> None:
    assert not any(verdicts(Health(HealthLimits()), *[IDLE] * ENOUGH))


def test_one_that_never_tells_is_left_alone() -> None:
    """A C++ model, or one of somebody else's."""
    assert not any(verdicts(Health(HealthLimits()), *[SILENT] * ENOUGH))


def test_one_that_falls_silent_and_computes_nothing_is_stuck() -> None:
    health = Health(HealthLimits())
    found = verdicts(health, IDLE, *[SILENT] * 12)
    assert found[:-1] == [""] * 12 and found[-1] == "it has stood still for 3 s"


def test_one_that_falls_silent_and_computes_is_busy() -> None:
    health = Health(HealthLimits())
    health.judge(IDLE)
    for look in range(ENOUGH):
        assert not health.judge(replace(SILENT, cpu_s=1.0 + look * LOOK_S * 0.9))


def test_a_beat_in_time_clears_it() -> None:
    health = Health(HealthLimits())
    assert not any(verdicts(health, IDLE, *([SILENT] * 11 + [IDLE]) * 20))


def test_requests_that_do_not_go_on_are_a_stall() -> None:
    stuck = replace(IDLE, beat=Beat(2, 7))
    limits = HealthLimits(stall_s=10.0)
    found = verdicts(Health(limits), stuck, *[stuck] * 40)
    assert found[:-1] == [""] * 40
    assert found[-1] == "none of its requests went on for 10 s (--stall-seconds)"
    assert not any(verdicts(Health(HealthLimits(stall_s=0)), *[stuck] * ENOUGH))


def test_requests_that_go_on_are_none() -> None:
    health = Health(HealthLimits(stall_s=1.0))
    assert not any(health.judge(replace(IDLE, beat=Beat(2, n))) for n in range(ENOUGH))


def test_memory_has_a_limit_only_where_one_is_set() -> None:
    large = replace(IDLE, resident=900 << 20)
    assert not Health(HealthLimits()).judge(large)
    said = Health(HealthLimits(memory_mb=800)).judge(large)
    assert said == "it has 900 MB; the limit (--memory-limit-mb) is 800"


def test_a_stopped_process_has_two_looks() -> None:
    """A debugger may stop one for a moment."""
    stopped = replace(SILENT, stopped=True)
    health = Health(HealthLimits())
    assert verdicts(health, IDLE, stopped, IDLE, stopped) == [""] * 4
    assert health.judge(stopped) == "it was stopped by a signal"
