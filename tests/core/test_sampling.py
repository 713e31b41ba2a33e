"""Lines are limited by key and in total, and memory with them."""

from __future__ import annotations

from app.core.sampling import SampledByKey


def test_each_key_has_its_lines_and_the_next_one_says_how_many_were_left_out() -> None:
    sampled = SampledByKey(each=2, most=10, every_s=60)
    assert [sampled.take("a", second) for second in range(5)] == [0, 0, None, None, None]
    assert sampled.take("b", 6) == 3, "what was left out of all keys"
    assert [sampled.take("a", second) for second in (59.9, 60, 61, 62)] == [None, 1, 0, None]


def test_a_flood_of_keys_writes_a_bounded_number_of_lines_and_holds_a_bounded_number_of_keys() -> None:
    sampled = SampledByKey(each=2, most=10, every_s=60)
    written = [sampled.take(f"k{number}", 0) for number in range(100_000)]
    assert written.count(0) == 10 and written.count(None) == 99_990
    assert len(sampled._taken) == 10
    assert sampled.take("k", 60) == 99_990
