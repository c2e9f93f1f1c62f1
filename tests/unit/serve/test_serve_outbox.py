"""What waits for a moment, what does not, and that nothing is lost in between."""

from hypothesis import given
from hypothesis import strategies as st

from hanlin.serve.outbox import Event, Outbox

MOMENT = 0.02


class Clock:
    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


def test_the_first_token_and_the_last_do_not_wait():
    outbox = Outbox(MOMENT, Clock())
    outbox.add("a", Event(0, "x", 1, None))
    assert outbox.is_due
    assert outbox.take() == [("a", Event(0, "x", 1, None))]
    assert not outbox.is_due
    outbox.add("a", Event(0, "y", 2, None))
    assert not outbox.is_due
    outbox.add("b", Event(0, "", 9, "stop"))
    assert outbox.is_due
    assert [owner for owner, _ in outbox.take()] == ["a", "b"]


def test_no_token_waits_longer_than_a_moment():
    clock = Clock()
    outbox = Outbox(MOMENT, clock)
    outbox.add("a", Event(0, "x", 2, None))
    clock.now += MOMENT / 2
    outbox.add("a", Event(0, "y", 3, None))
    assert not outbox.is_due
    clock.now += MOMENT
    assert outbox.is_due
    assert outbox.take() == [("a", Event(0, "xy", 3, None))]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=2), st.floats(0, 0.03))))
def test_all_text_arrives_in_order(tokens):
    clock = Clock()
    outbox, sent, counts, got = (
        Outbox(MOMENT, clock),
        {"a": "", "b": ""},
        {"a": 0, "b": 0},
        {"a": "", "b": ""},
    )
    for owner, text, seconds in tokens:
        clock.now += seconds
        counts[owner] += 1
        sent[owner] += text
        outbox.add(owner, Event(0, text, counts[owner], None))
        if outbox.is_due:
            for one, event in outbox.take():
                got[one] += event.text
                assert event.new_tokens == counts[one]
    for one, event in outbox.take():
        got[one] += event.text
    assert got == sent
