"""The choice of the heaviest keys: exact where it matters, steady, and bounded."""

from __future__ import annotations

from app.core.top_keys import TopKeys


def test_the_first_keys_are_chosen_at_once() -> None:
    top: TopKeys[str] = TopKeys(2)
    assert [top.add(key, 1) for key in ("a", "b", "c", "a")] == [True, True, False, True]


def test_a_key_that_weighs_more_than_twice_as_much_displaces_the_lightest() -> None:
    top: TopKeys[str] = TopKeys(2)
    for key, weight in (("a", 4), ("b", 3), ("c", 7), ("d", 6)):
        top.add(key, weight)
    assert top.review() == {"b"}
    assert [top.add(key, 0) for key in ("a", "b", "c", "d")] == [True, False, True, False]


def test_keys_alike_do_not_take_turns() -> None:
    top: TopKeys[int] = TopKeys(3)
    for _ in range(10):
        for key in range(9):
            top.add(key, 1)
        assert top.review() == set()


def test_older_weights_fade() -> None:
    top: TopKeys[str] = TopKeys(1)
    top.add("old", 1000)
    rounds = 0
    while not top.review():
        top.add("new", 10)
        rounds += 1
    assert rounds < 10 and top.add("new", 1)


def test_heavy_keys_are_chosen_among_any_number_of_light_ones() -> None:
    top: TopKeys[str] = TopKeys(4)
    for round_ in range(5):
        for number in range(100_000):
            top.add(f"{round_}/{number}", 1)
            if number % 100 == 0:
                for heavy in ("a", "b", "c"):
                    top.add(heavy, 20)
            assert len(top._weights) <= 128 and len(top._keys) <= 4
        top.review()
    assert all(top.add(heavy, 1) for heavy in ("a", "b", "c"))
