"""How closely the guard looks follows from what looking costs."""

from __future__ import annotations

import time

import pytest

from stateguard.pace import PERIOD, RETURNS, Pace


def cost(pace: Pace, share: float, requests: int = 1, begun: int = 0) -> None:
    """One period in which looking took ``share`` of the clock while ``requests`` were being served.

    ``begun`` is how many requests there have been so far."""
    pace.flying(requests)
    pace._since -= PERIOD
    pace._changed -= PERIOD
    pace._spent = int(share * PERIOD)
    assert pace.weigh(begun)


def test_a_guard_within_its_budget_stays_strict() -> None:
    pace = Pace(0.05, fixed=False)
    cost(pace, 0.04)
    assert pace.gait == "strict"


def test_over_budget_it_looks_less_closely_step_by_step_and_returns() -> None:
    pace = Pace(0.05, fixed=False)
    gaits = []
    for share in (0.4, 0.2, 0.05, 0.03, 0.01, 0.001):
        cost(pace, share)
        gaits.append(pace.gait)
    assert gaits == ["brief", "sparse", "sparse", "sparse", "brief", "strict"]


def test_after_vain_attempts_it_waits_longer_before_the_next_one() -> None:
    pace = Pace(0.05, fixed=False)
    gaits = []
    for _ in range(4):  # bursts with little in between
        for share in (0.4, 0.3, 0.05, 0.001):
            cost(pace, share)
        gaits.append(pace.gait)
    assert gaits == ["brief", "sparse", "sparse", "sparse"]


def test_in_a_long_calm_it_looks_closely_again_whatever_was_before() -> None:
    pace = Pace(0.05, fixed=False)
    for share in (0.4, 0.3, 0.001) * 20:
        cost(pace, share)
    assert pace.gait == "sparse"
    for _ in range(2 * RETURNS):
        cost(pace, 0.001)
    assert pace.gait == "strict"


def test_the_budget_is_a_share_of_request_time() -> None:
    waiting, spinning = Pace(0.05, fixed=False), Pace(0.05, fixed=False)
    cost(waiting, 0.2, requests=20)
    cost(spinning, 0.2, requests=1)
    assert (waiting.gait, spinning.gait) == ("strict", "brief")


def test_however_many_wait_there_is_a_ceiling() -> None:
    pace = Pace(0.05, fixed=False)
    cost(pace, 0.9, requests=500)
    assert pace.gait == "brief"


@pytest.mark.parametrize("pace", [Pace(1.0, fixed=False), Pace(0.01, fixed=True)])
def test_exactness_first_never_looks_less_closely(pace: Pace) -> None:
    cost(pace, 0.9)
    assert pace.gait == "strict"
    assert pace.due()


def test_sparse_looks_are_spaced_by_their_cost() -> None:
    pace = Pace(0.05, fixed=False)
    pace.gait = "sparse"
    assert pace.due()
    pace.spent(time.perf_counter_ns() - 5_000_000)
    assert not pace.due()


def test_before_a_period_is_over_nothing_is_decided() -> None:
    pace = Pace(0.05, fixed=False)
    pace._spent = PERIOD
    assert not pace.weigh()
    assert pace.gait == "strict"


def test_slices_get_what_handling_requests_leaves_of_the_budget() -> None:
    shares = []
    for requests in (0, 40, 50_000):
        pace = Pace(0.05, fixed=False)
        pace.slicing, pace.handling = True, 10_000
        pace._since -= PERIOD
        assert pace.weigh(requests)
        shares.append(pace._share)
    assert shares[0] > shares[1] > shares[2] > 0


def test_looking_closely_costs_more_than_the_looks() -> None:
    pace = Pace(0.05, fixed=False)
    pace.handling = 5_000
    gaits = []
    for requests in (100, 10_000, 20_000):  # of which the last two would take more than there is
        cost(pace, 0.001, begun=requests)
        gaits.append(pace.gait)
    assert gaits == ["strict", "brief", "sparse"]
    for _ in range(2 * RETURNS):  # nor does it come back while they would
        pace._handled = 0
        cost(pace, 0.001, begun=10_000)
    assert pace.gait == "sparse"
    pace._handled = 0
    cost(pace, 0.001, begun=100)
    assert pace.gait == "brief"


def test_until_the_next_slice_is_due_nobody_need_ask() -> None:
    pace = Pace(0.05, fixed=False)
    pace.gait, pace.slicing = "sparse", True
    assert pace.slice()
    pace.slice_spent(time.perf_counter_ns() - 200_000)
    assert pace.next_look == pace._next_slice > time.perf_counter_ns()
    pace.next_look = 0
    assert not pace.slice()
    assert pace.next_look == pace._next_slice


def test_waiting_for_a_turn_costs_as_much_as_looking() -> None:
    pace = Pace(0.05, fixed=False)
    pace.flying(8)
    pace._since -= PERIOD // 10
    pace.queue(PERIOD // 5)
    assert not pace.weigh()
    gaits = []
    for _ in range(2):
        pace._since -= PERIOD // 10
        pace.queue(PERIOD // 5)
        assert pace.weigh()  # there is no need to see more of it
        gaits.append(pace.gait)
        pace.queue(PERIOD // 5)
    assert gaits == ["brief", "sparse"]


def test_a_vain_attempt_to_look_closely_ends_before_its_period_does() -> None:
    pace = Pace(0.05, fixed=False)
    for share in (0.4, 0.2, 0.001):
        cost(pace, share)
    assert pace.gait == "brief"  # it has just been tried again
    pace._since -= PERIOD // 4
    pace._spent = PERIOD // 5
    assert pace.weigh()
    assert pace.gait == "sparse"


def test_a_burst_after_a_long_calm_has_its_period() -> None:
    pace = Pace(0.05, fixed=False)
    pace._since -= PERIOD // 4
    pace._spent = PERIOD // 5
    assert not pace.weigh()
    assert pace.gait == "strict"


def test_requests_are_counted_anew_in_the_child_of_a_fork() -> None:
    pace = Pace(0.05, fixed=False)
    pace.handling = 10_000
    cost(pace, 0.01, begun=500)
    for _ in range(2):
        cost(pace, 0.3, begun=500)
    assert pace.gait == "sparse"
    cost(pace, 0.01, begun=1_000_000)
    cost(pace, 0.05, begun=3_000)  # nothing that takes anything off what has been spent
    assert pace.gait == "sparse"
    assert max(pace._rarely, pace._share) <= pace.budget


def test_who_has_fallen_behind_goes_back_as_soon_as_everything_fits():
    pace = Pace(0.05, fixed=False, max_pause=0.002)
    pace.fall_behind()
    assert pace.slicing
    pace.expect(1_900_000)
    assert not pace.slicing
    pace.expect(2_100_000)
    assert pace.slicing
    pace.fall_behind()  # it slices already, because comparing takes too long
    pace.expect(1_900_000)
    assert pace.slicing
    pace.expect(900_000)
    assert not pace.slicing


class Busy:
    """The clock of a saturated process. Its requests take ``taken`` nanoseconds each, 8 at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
        self.now = 10**9
        self.taken = taken
        monkeypatch.setattr("stateguard.pace.perf_counter_ns", lambda: self.now)
        monkeypatch.setattr("stateguard.pace.process_time_ns", lambda: self.now)
        self.pace = Pace(0.05, fixed=False)
        self.pace.gait = "sparse"
        self._begun = 0

    def serve(self, periods: int, cost: int) -> list[int]:
        """Serve that long, looking when a look of that cost is due; when looks were taken."""
        looks = []
        end = self.now + periods * PERIOD
        while self.now < end and self.pace.gait == "sparse":
            if cost and self.now >= self.pace.next_look:
                looks.append(self.now)
                self.now += cost
                self.pace.spent(self.now - cost, whole=True)
            self.now += 1_000_000
            self.pace.served(8_000_000)
            self._begun += 8_000_000 // self.taken
            self.pace.weigh(self._begun)
        return looks


@pytest.mark.parametrize(
    ("taken", "cost", "apart"),
    [
        (1_000_000, 200_000, 187_500_000),  # as long as it may be
        (500_000, 200_000, 100_000_000),  # 1,600 requests
        (1_000_000, 60_000, 3_600_000),  # that hardly shows
        (8_000_000, 200_000, 12_000_000),  # nor does this
    ],
)
def test_looks_that_would_show_are_rare(
    monkeypatch: pytest.MonkeyPatch, taken: int, cost: int, apart: int
) -> None:
    busy = Busy(monkeypatch, taken)
    busy.serve(2, cost)
    looks = busy.serve(20, cost)
    assert busy.pace.gait == "sparse"
    apart_really = (looks[-1] - looks[0]) / (len(looks) - 1)
    assert apart <= apart_really <= apart + 2_000_000


def test_slices_go_on_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(monkeypatch, 1_000_000)
    busy.pace.slicing = True
    busy.serve(2, 200_000)
    assert len(busy.serve(20, 200_000)) > 300


def test_rare_looks_are_no_sign_of_room_but_none_are(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(monkeypatch, 1_000_000)
    busy.serve(10 * RETURNS, 200_000)
    assert busy.pace.gait == "sparse"
    busy.serve(2 * RETURNS, 0)
    assert busy.pace.gait == "brief"
