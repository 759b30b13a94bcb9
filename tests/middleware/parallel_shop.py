"""State of a process, and what requests do to it: watched, and served by several threads at once."""

from __future__ import annotations


class Desk:
    """An object that everybody writes to."""

    def __init__(self) -> None:
        self.turns = 0
        self.held = {}


CHURN_LIST = []
CHURN_TABLE = {}
CHURN_SET = set()
CHURN_DESK = Desk()
PLANTED = []
TICKS = []
ALONE = []


def churn(name: str, i: int) -> None:
    """What any request does, and is allowed to: containers grow, shrink and are replaced under everybody's
    hands."""
    CHURN_LIST.append([name, i])
    CHURN_TABLE[name, i] = {"by": name}
    CHURN_SET.add((name, i))
    CHURN_DESK.turns = i
    CHURN_DESK.held = {**CHURN_DESK.held, name: [i]}
    if i % 4 == 3:
        del CHURN_LIST[: len(CHURN_LIST) // 2]
        CHURN_TABLE.pop((name, i - 2), None)
        CHURN_SET.discard((name, i - 1))


def plant(name: str) -> None:
    """The leak."""
    PLANTED.append(name)


def tick(i: int) -> None:
    """What code outside any request does: nobody's leak."""
    TICKS.append(i)


def alone(name: str) -> None:
    """A leak while nobody else is being served."""
    ALONE.append(name)


def reset() -> None:
    """As it was."""
    for state in (CHURN_LIST, CHURN_TABLE, CHURN_SET, PLANTED, TICKS, ALONE):
        state.clear()
    CHURN_DESK.turns, CHURN_DESK.held = 0, {}
