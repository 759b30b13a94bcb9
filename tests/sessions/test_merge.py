"""The three-way merge: its rules one by one, and a state machine that looks for anything lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stateguard import AgentSession
from stateguard.errors import SessionConflict
from stateguard.sessions import MemoryStore
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.merge import MISSING, Conflict, same, three_way
from stateguard.sessions.policy import Terms
from stateguard.sessions.steps import run


def dec(text):
    return {"a": {"$": "decimal", "v": text}}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        # one side only
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": 1}, {}),
        ({}, {"a": 1}, {}, {"a": 1}),
        # counters
        ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 3}),
        ({"a": 10}, {"a": 7}, {"a": 12}, {"a": 9}),
        ({"cost": 1.0}, {"cost": 1.5}, {"cost": 1.25}, {"cost": 1.75}),
        ({"u": {"in": 0}}, {"u": {"in": 3}}, {"u": {"in": 4}}, {"u": {"in": 7}}),
        (dec("1"), dec("1.1"), dec("1.2"), dec("1.3")),
        # lists: what both appended survives, theirs first
        ({"h": [1]}, {"h": [1, 2]}, {"h": [1, 3]}, {"h": [1, 3, 2]}),
        ({"h": []}, {"h": ["yes"]}, {"h": ["yes"]}, {"h": ["yes", "yes"]}),
        ({}, {"h": [1]}, {"h": [2]}, {"h": [2, 1]}),
        ({"h": [1, 2, 3]}, {"h": ["sum"]}, {"h": [1, 2, 3, 4]}, {"h": ["sum", 4]}),
        ({"h": [1, 2, 3]}, {"h": [1, 2, 3, 4]}, {"h": ["sum"]}, {"h": ["sum", 4]}),
        (
            {"h": [{"a": 1}, {}]},
            {"h": [{"a": 1, "b": 2}, {}, 5]},
            {"h": [{"a": 1}, {"c": 3}, 4]},
            {"h": [{"a": 1, "b": 2}, {"c": 3}, 4, 5]},
        ),
        ({"h": ["a", "b"]}, {"h": ["n", "a", "b"]}, {"h": ["a", "b", "t"]}, {"h": ["n", "a", "b", "t"]}),
        ({"h": ["a", "b"]}, {"h": ["a", "n", "b"]}, {"h": ["a", "b", "t"]}, {"h": ["a", "n", "b", "t"]}),
        (
            {"h": ["a", "b", "c"]},
            {"h": ["a", "c", "n"]},
            {"h": ["a", "b", "c", "t"]},
            {"h": ["a", "c", "n", "t"]},
        ),
        (
            {"h": ["a", "b", "c"]},
            {"h": ["b", "a", "c"]},
            {"h": ["a", "b", "c", "t"]},
            {"h": ["b", "a", "c", "t"]},
        ),
        (
            {"h": ["a", "b", "c"]},
            {"h": ["A", "b", "c"]},
            {"h": ["a", "b", "C", "t"]},
            {"h": ["A", "b", "C", "t"]},
        ),
        ({"h": ["ok", "ok"]}, {"h": ["OK", "ok"]}, {"h": ["ok", "Ok"]}, {"h": ["OK", "Ok"]}),
        ({"h": ["a"]}, {"h": []}, {"h": ["a", "t"]}, {"h": ["t"]}),
        (
            {"m": {"n": {"x": 1, "y": "a"}}},
            {"m": {"n": {"x": 3, "y": "a"}}},
            {"m": {"n": {"x": 1, "y": "b"}}},
            {"m": {"n": {"x": 3, "y": "b"}}},
        ),
        # mappings, sets
        ({"m": {}}, {"m": {"a": 1}}, {"m": {"b": 2}}, {"m": {"b": 2, "a": 1}}),
        ({"m": {"a": 1, "b": 2}}, {"m": {"b": 2}}, {"m": {"a": 1}}, {"m": {}}),
        (
            {"s": {"$": "set", "v": [1, 2]}},
            {"s": {"$": "set", "v": [2, 3]}},
            {"s": {"$": "set", "v": [1, 2, 4]}},
            {"s": {"$": "set", "v": [2, 4, 3]}},
        ),
        (
            {"n": {"$": "dict", "v": [[1, 1]]}},
            {"n": {"$": "dict", "v": [[1, 2]]}},
            {"n": {"$": "dict", "v": [[1, 3], [2, 5]]}},
            {"n": {"$": "dict", "v": [[1, 4], [2, 5]]}},
        ),
        # the same new value
        ({"t": "a"}, {"t": "b"}, {"t": "b"}, {"t": "b"}),
        ({"t": None}, {"t": True}, {"t": True}, {"t": True}),
    ],
)
def test_merged(base, mine, theirs, merged):
    assert same(three_way(base, mine, theirs), merged)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "path"),
    [
        ({"t": "a"}, {"t": "b"}, {"t": "c"}, "t"),
        ({"m": {"t": "a"}}, {"m": {}}, {"m": {"t": "c"}}, "m.t"),
        ({"m": {}}, {"m": {"n": 1}}, {"m": {"n": 1}}, "m.n"),  # two first increments, or two equal settings?
        ({"m": {"seen": 1.5}}, {"m": {"seen": 2.5}}, {"m": {"seen": 3.5}}, "m.seen"),  # a time is no counter
        ({"a": 1}, {"a": "1"}, {"a": 2}, "a"),
        ({"a": 1}, {"a": True}, {"a": 2}, "a"),
        ({"h": [1, 2]}, {"h": [1]}, {"h": [2]}, "h"),
        ({"h": ["a"]}, {"h": ["b", 1]}, {"h": ["c", 2]}, "h.0"),
        ({"h": []}, {"h": {}}, {"h": [1]}, "h"),
        # moved by one of them, edited by the other: where would the edit go?
        ({"h": ["a", "b"]}, {"h": ["b", "m"]}, {"h": ["a", "B"]}, "h"),
        ({"h": ["a", "b", "c"]}, {"h": ["a", "x", "b", "c"]}, {"h": ["A", "b", "c", "t"]}, "h"),
        ({"h": ["a", "b"]}, {"h": ["b", "a"]}, {"h": ["A", "b"]}, "h"),
        ({"h": ["a", "b"]}, {"h": ["b"]}, {"h": ["a"]}, "h"),
        ({"m": {"n": {"x": 1}}}, {"m": {}}, {"m": {"n": {"x": 2}}}, "m.n"),
    ],
)
def test_conflicts(base, mine, theirs, path):
    with pytest.raises(Conflict) as caught:
        three_way(base, mine, theirs)
    assert caught.value.paths == [path]


def test_rules():
    merged = three_way(
        {"a": "", "b": "", "n": 1, "t": 1.0, "f": 0, "new": {}},
        {"a": "mine", "b": "mine", "n": 5, "t": 2.0, "f": 1, "new": {"x": 1}},
        {"a": "theirs", "b": "theirs", "n": 9, "t": 3.0, "f": 2, "new": {"x": 2}},
        {"a": "mine", "b": "theirs", "n": "min", "t": "max", "f": lambda b, m, t: [b, m, t], "new.x": "add"},
    )
    assert merged == {"a": "mine", "b": "theirs", "n": 5, "t": 3.0, "f": [0, 1, 2], "new": {"x": 3}}
    with pytest.raises(Conflict):
        three_way({"n": 1}, {"n": 2}, {"n": 3}, {"n": "conflict"})
    assert three_way({"n": 1}, {}, {"n": 3}, {"n": "max"}) == {"n": 3}
    gone = {"n": lambda base, mine, theirs: "gone" if mine is MISSING else mine}
    assert three_way({"n": 1}, {}, {"n": 3}, gone) == {"n": "gone"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", max_size=1), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text("xyz", min_size=1, max_size=1), values, max_size=3)


@given(documents, documents)
def test_an_unchanged_side_never_matters(base, changed):
    assert same(three_way(base, changed, base), changed)
    assert same(three_way(base, base, changed), changed)


@given(documents, documents, documents)
def test_merging_either_way_round_conflicts_alike_and_changes_no_input(base, one, two):
    before = repr((base, one, two))

    def outcome(mine, theirs):
        try:
            return sorted(three_way(base, mine, theirs))
        except Conflict as conflict:
            return conflict.paths and "conflict"

    assert outcome(one, two) == outcome(two, one)
    assert repr((base, one, two)) == before


class Conversations(RuleBasedStateMachine):
    """Overlapping requests of one conversation: what was acknowledged is found, once and in order."""

    @initialize(policy=st.sampled_from(["merge", "raise"]), window=st.sampled_from([None, 1, 3]))
    def start(self, policy, window):
        self.store = MemoryStore(on_conflict=policy, window=window)
        self.all = MemoryStore()
        self.all._kept, self.all._mutex = self.store._kept, self.store._mutex
        self.open: list[tuple[int, Checkout, list[str], dict]] = []
        self.acknowledged: list[list[str]] = []
        self.removed: set[str] = set()
        self.touches = 0  # saves that have edited or removed something
        self.calls = 0
        self.cost = Decimal(0)
        self.keys: dict[str, str] = {}
        self.serial = 0

    @precondition(lambda self: len(self.open) < 4)
    @rule()
    def begin(self):
        checkout = Checkout("s", self.store.policy, Terms(AgentSession, "history", None))
        run(self.store, checkout.open())
        self.serial += 1
        self.open.append((self.serial, checkout, [], self.nothing()))

    def nothing(self):
        """What a request has changed so far, and how often others had edited when it began."""
        return {
            "calls": 0,
            "cost": Decimal(0),
            "keys": {},
            "gone": set(),
            "touched": False,
            "then": self.touches,
        }

    @precondition(lambda self: self.open)
    @rule(data=st.data(), count=st.integers(1, 3))
    def say(self, data, count):
        number, checkout, said, _ = data.draw(st.sampled_from(self.open))
        for _ in range(count):
            self.serial += 1
            said.append(f"{number}:{self.serial}")
            checkout.session.add_message("user", said[-1])

    @precondition(lambda self: self.open)
    @rule(data=st.data(), cents=st.integers(1, 500))
    def spend(self, data, cents):
        _, checkout, _, changes = data.draw(st.sampled_from(self.open))
        checkout.session.tool_calls += 1
        checkout.session.cost += Decimal(cents) / 100
        changes["calls"] += 1
        changes["cost"] += Decimal(cents) / 100

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def note(self, data):
        number, checkout, _, changes = data.draw(st.sampled_from(self.open))
        checkout.session.metadata[f"k{number}"] = changes["keys"][f"k{number}"] = f"v{number}"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def edit(self, data):
        _, checkout, _, changes = data.draw(st.sampled_from(self.open))
        if checkout.session.history:
            index = data.draw(st.integers(0, len(checkout.session.history) - 1))
            checkout.session.history[index]["edited"] = True
            changes["touched"] = True

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def forget(self, data):
        _, checkout, said, changes = data.draw(st.sampled_from(self.open))
        if checkout.session.history:
            index = data.draw(st.integers(0, len(checkout.session.history) - 1))
            text = checkout.session.history.pop(index)["content"]
            changes["touched"] = True
            if text in said:
                said.remove(text)
            else:
                changes["gone"].add(text)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def save(self, data):
        index = data.draw(st.integers(0, len(self.open) - 1))
        number, checkout, said, changes = self.open[index]
        try:
            run(self.store, checkout.save())
        except SessionConflict:
            # Appending never conflicts; edits and removals do, if others have edited or removed meanwhile.
            is_real = changes["touched"] and self.touches > changes["then"]
            assert self.store.policy.on_conflict == "raise" or is_real
            self.open.pop(index)
            return
        self.acknowledged.append(list(said))
        self.calls += changes["calls"]
        self.cost += changes["cost"]
        self.keys |= changes["keys"]
        self.removed |= changes["gone"]
        self.touches += changes["touched"]
        # The request may go on and save again.
        self.open[index] = (number, checkout, [], self.nothing())

    @invariant()
    def nothing_acknowledged_is_lost_or_doubled(self):
        if not hasattr(self, "all"):
            return
        record = self.all.read("s")
        if record is None:
            assert not any(self.acknowledged)
            return
        checkout = Checkout("s", self.all.policy, Terms(AgentSession, "history", None))
        run(self.all, checkout.open())
        found = [message["content"] for message in checkout.session.history]
        assert len(found) == len(set(found))
        assert set(found) == {text for said in self.acknowledged for text in said} - self.removed
        for said in self.acknowledged:
            positions = [found.index(text) for text in said if text not in self.removed]
            assert positions == sorted(positions)
        assert checkout.session.tool_calls == self.calls
        assert checkout.session.cost == self.cost
        assert checkout.session.metadata == self.keys


TestConversations = Conversations.TestCase
TestConversations.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
