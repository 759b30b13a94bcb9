"""What two sequences have in turn is left out, and nothing else is."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from stateguard.watch.compare import MOST, common_prefix, run_length, unpaired
from stateguard.watch.content import Content, differing

POOL = [object() for _ in range(40)]
sequences = st.lists(st.sampled_from(POOL), max_size=60)


def left(sequence, places):
    return [id(one) for i, one in enumerate(sequence) if i not in set(places)]


@given(sequences, sequences)
@example(POOL, POOL[::-1])
@example(POOL, POOL[1:] + POOL[:1])
def test_the_others_are_the_same_in_the_same_order(a, b):
    gone, come = unpaired(a, b)
    assert left(a, gone) == left(b, come)
    assert gone == sorted(set(gone))
    assert come == sorted(set(come))
    assert run_length(a, 0, b, 0) == common_prefix(a, b)


@given(st.permutations(POOL), st.lists(st.tuples(st.sampled_from(POOL), st.sampled_from(POOL)), max_size=20))
def test_of_entries_both_the_key_and_the_value_count(keys, writes):
    before = {id(key): (key, POOL[0]) for key in keys}
    after = dict(before)
    for key, value in writes:
        after[id(key)] = (key, value)
        if value is POOL[3]:
            after.pop(id(POOL[5]), None)
    a, b = list(before.values()), list(after.values())
    gone, come = unpaired([v for _, v in a], [v for _, v in b], [k for k, _ in a], [k for k, _ in b])
    assert left([v for _, v in a], gone) == left([v for _, v in b], come)
    assert left([k for k, _ in a], gone) == left([k for k, _ in b], come)


def test_what_leaves_in_front_and_comes_behind_is_all_there_is():
    values = [object() for _ in range(5_000)]
    before, after = Content(values[:-3]), Content(values[3:])
    old, new = differing(before, after)
    assert list(map(id, old.values)) == list(map(id, values[:3]))
    assert list(map(id, new.values)) == list(map(id, values[-3:]))
    assert old.gap == new.gap == len(values) - 6


def test_what_has_little_in_common_is_left_as_it_is():
    values = [object() for _ in range(4 * MOST)]
    others = list(values)
    others[::2] = [object() for _ in others[::2]]
    assert unpaired(values, others) is None
    before, after = Content(values), Content(others)
    old, new = differing(before, after)
    assert len(old.values) == len(new.values) == len(values) - 1
