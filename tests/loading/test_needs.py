"""The memory that loading takes, against what is free."""

import pytest

from tritone.errors import EnvironmentProblem
from tritone.loading.needs import Need, check_room, told

GIB = 2**30
NEEDS = (
    Need("flow", GIB // 2),
    Need("readers", 3 * GIB, "move them away, and nothing can be cloned"),
    Need("language model", 2 * GIB),
)


def test_it_is_told_by_part() -> None:
    assert told(NEEDS) == "5.5 GiB (readers 3.0, language model 2.0, flow 0.5)"


@pytest.mark.parametrize("free", [11 * GIB // 2, 20 * GIB])
def test_what_fits_is_let_through(free: int) -> None:
    check_room(NEEDS, free)
    check_room((), 0)


def test_what_can_be_left_out_is_named_where_that_is_enough() -> None:
    with pytest.raises(EnvironmentProblem) as refused:
        check_room(NEEDS, 11 * GIB // 2 - 1)
    said = str(refused.value)
    assert said.startswith(
        "main memory: needs 5.5 GiB (readers 3.0, language model 2.0, flow 0.5), 5.5 GiB are free: "
    )
    assert said.endswith("or leave out readers 3.0: move them away, and nothing can be cloned")


def test_of_several_parts_those_are_named_that_are_enough() -> None:
    needs = [
        Need("flow", GIB),
        Need("readers", 3 * GIB, "move a"),
        Need("emotions", GIB, "move b"),
        Need("voices", 2 * GIB, "move c"),
    ]
    for free, said in (
        (6, "readers 3.0: move a; or emotions 1.0: move b; or voices 2.0: move c"),
        (5, "readers 3.0: move a; or voices 2.0: move c"),
        (4, "readers 3.0: move a"),
        (3, "readers 3.0: move a; and emotions 1.0: move b; and voices 2.0: move c"),
    ):
        with pytest.raises(EnvironmentProblem) as refused:
            check_room(needs, free * GIB)
        assert str(refused.value).endswith(f"more memory, or leave out {said}")


def test_what_is_not_enough_is_said_too() -> None:
    with pytest.raises(EnvironmentProblem, match=r"2\.0 GiB are free: without .* 2\.5 GiB; end"):
        check_room(NEEDS, 2 * GIB)
    with pytest.raises(EnvironmentProblem, match=r"2\.0 GiB are free: end other processes, or"):
        check_room([NEEDS[0], NEEDS[2]], 2 * GIB)
