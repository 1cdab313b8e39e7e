"""Work that is to take as long as other work: how speeds are compared, and what fills up a difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.equal_work import SAMPLES, fillers, ratio


class Machine:
    """Work that takes what it is said to take, and a clock that sees it."""

    def __init__(self, *, held_up: tuple[float, ...] = (0.0,)) -> None:
        self.now = 0.0
        self.runs = 0
        self._held_up = held_up

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float):
        def work() -> None:
            self.now += seconds + self._held_up[self.runs % len(self._held_up)]
            self.runs += 1

        return work


def test_the_ratio_of_two_pieces_of_work_is_that_of_their_times() -> None:
    machine = Machine()

    assert ratio(machine.taking(3.0), machine.taking(2.0), machine) == pytest.approx(1.5)
    assert machine.runs == 2 * SAMPLES


def test_runs_that_were_held_up_do_not_count() -> None:
    machine = Machine(held_up=(5.0, 7.0, 0.0, 0.0, 1.0, 9.0))

    assert ratio(machine.taking(3.0), machine.taking(2.0), machine) == pytest.approx(1.5)


def test_a_clock_that_sees_nothing_gives_a_number() -> None:
    assert ratio(lambda: None, lambda: None, lambda: 0.0) == 1.0


@given(missing=st.floats(-1e6, 2**17), most=st.integers(4, 16))
def test_a_difference_is_filled_up_to_less_than_the_least_piece(missing: float, most: int) -> None:
    pieces = list(fillers(missing, least=4, most=most))

    assert all(4 <= rounds <= most for rounds in pieces)
    left = missing - sum(2**rounds for rounds in pieces)
    assert left == missing if missing < 16 else 0 <= left < 16
