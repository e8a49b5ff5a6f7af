"""The fair queue, checked against what it promises, over random histories too."""

from collections import Counter
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given

from gradserve_server.batching.fair_queue import FairQueue


@dataclass(eq=False)
class Item:
    caller: str = "a"
    key: object = "k"
    rows: int = 1
    size: int = 1
    cost: int = 1
    arrived: float = field(default=0.0)


def queue(*items: Item, max_rows: int = 100, max_bytes: int = 100) -> FairQueue[Item]:
    made: FairQueue[Item] = FairQueue(max_rows, max_bytes)
    for item in items:
        assert made.offer(item) == []
    return made


def test_one_caller_is_served_in_the_order_of_his_requests():
    items = [Item() for _ in range(4)]
    assert queue(*items).take(100) == items


def test_callers_take_turns_whatever_each_has_asked_for():
    many, few = [Item("a") for _ in range(5)], [Item("b"), Item("c")]
    assert [item.caller for item in queue(*many, *few).take(100)] == ["a", "b", "c", "a", "a", "a", "a"]


def test_the_turn_goes_on_from_batch_to_batch():
    waiting = queue(*(Item(caller) for caller in "aaabbb"))
    assert "".join(item.caller for _ in range(3) for item in waiting.take(2)) == "ababab"


def test_requests_of_different_keys_are_never_taken_together():
    waiting = queue(Item("a", "k"), Item("b", "other"), Item("c", "k"))
    assert [item.caller for item in waiting.take(100)] == ["a", "c"]
    assert [item.caller for item in waiting.take(100)] == ["b"]


def test_a_request_without_a_key_is_taken_alone():
    waiting = queue(Item("a", None), Item("a", None))
    assert len(waiting.take(100)) == 1


def test_a_batch_has_at_most_so_many_rows_unless_its_first_has_more():
    waiting = queue(Item(rows=30), Item(rows=4), Item(rows=4), Item(rows=4))
    assert [[item.rows for item in waiting.take(10)] for _ in range(3)] == [[30], [4, 4], [4]]


def test_what_does_not_fit_is_sent_away():
    waiting = queue(Item(rows=6), max_rows=10)
    late = Item(rows=5)
    assert waiting.offer(late) == [late]
    assert waiting.rows == 6


def test_bytes_are_bounded_as_rows_are():
    waiting = queue(Item(size=6), max_bytes=10)
    late = Item(size=5)
    assert waiting.offer(late) == [late]


def test_a_request_larger_than_all_the_room_is_let_in_where_nobody_waits():
    assert queue(max_rows=10).offer(Item(rows=50)) == []


def test_in_a_full_queue_who_holds_more_than_his_share_gives_way_with_his_newest():
    greedy = [Item("greedy") for _ in range(10)]
    waiting = queue(*greedy, max_rows=10)
    assert waiting.offer(Item("modest")) == [greedy[-1]]
    assert waiting.rows == 10


def test_in_a_full_queue_who_holds_his_share_is_sent_away():
    waiting = queue(*(Item(caller) for caller in "aaaaabbbbb"), max_rows=10)
    late = Item("a")
    assert waiting.offer(late) == [late]


def test_a_request_that_has_left_is_not_taken_and_its_room_is_free():
    gone, stays = Item(), Item()
    waiting = queue(gone, stays)
    assert waiting.discard(gone)
    assert not waiting.discard(gone)
    assert (len(waiting), waiting.rows, waiting.size) == (1, 1, 1)
    assert waiting.take(100) == [stays]


def test_a_newcomer_waits_for_his_own_and_for_as_much_of_each_other_caller():
    waiting = queue(*(Item("a", cost=5) for _ in range(10)), Item("b", cost=2))
    assert waiting.cost_before("b", 3) == 2 + 5
    assert waiting.cost_before("c", 3) == 3 + 2
    assert waiting.cost_before("a", 3) == 50 + 2


def test_the_oldest_arrival_is_that_of_whoever_has_waited_longest():
    assert queue(Item("a", arrived=3.0), Item("b", arrived=1.0), Item("b", arrived=2.0)).oldest_arrival() == 1.0


_ITEMS = st.builds(
    Item, caller=st.sampled_from("abcd"), key=st.sampled_from(["k", "l", None]), rows=st.integers(0, 5),
    size=st.integers(0, 5),
)  # fmt: skip


@given(st.lists(_ITEMS | st.just("take") | st.integers(0, 50)))
def test_whatever_happens_nothing_is_lost_or_doubled_and_the_room_is_never_exceeded(history):
    waiting: FairQueue[Item] = FairQueue(12, 12)
    fate: Counter[Item] = Counter()
    offered: list[Item] = []
    for event in history:
        if isinstance(event, Item):
            offered.append(event)
            fate.update(waiting.offer(event))
        elif event == "take" and len(waiting):
            taken = waiting.take(4)
            fate.update(taken)
            assert len({item.key for item in taken}) == 1
            assert len(taken) == 1 or (taken[0].key is not None and sum(item.rows for item in taken) <= 4)
        elif isinstance(event, int) and offered:
            leaving = offered[event % len(offered)]
            fate.update([leaving] * waiting.discard(leaving))
        held = [item for item in offered if item in waiting]
        assert (len(held), sum(item.rows for item in held), sum(item.size for item in held)) == (
            len(waiting), waiting.rows, waiting.size,
        )  # fmt: skip
        assert len(held) <= 1 or (waiting.rows <= 12 and waiting.size <= 12)
    fate.update(item for item in offered if item in waiting)
    assert fate == Counter(offered)
