"""Which connections stay open, decided without a socket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.connection_book import ConnectionBook, ConnectionLimits, source_of

SMALL = ConnectionLimits(total=3, per_address=2, reserve=1, head_s=10, idle_s=75, unread_s=30)


def test_the_connection_that_has_waited_longest_makes_room() -> None:
    book = ConnectionBook(SMALL)
    assert book.open(1, "10.0.0.1", 0) == ("served", [])
    assert book.open(2, "10.0.0.2", 1) == ("served", [])
    assert book.open(3, "10.0.0.3", 2) == ("served", [])
    assert book.began(1, 3) == "served"
    assert book.open(4, "10.0.0.4", 4) == ("served", [2]), "1 is busy"
    book.ended(1, 5)
    assert book.open(5, "10.0.0.5", 6) == ("served", [3])
    assert book.open(6, "10.0.0.6", 6) == ("served", [4])
    assert book.open(7, "10.0.0.7", 6) == ("served", [1]), "it waited anew since 5"
    assert len(book) == 3


def test_an_address_at_its_limit_loses_only_its_own_connections() -> None:
    book = ConnectionBook(SMALL)
    book.open(1, "10.0.0.1", 0)
    book.open(2, "10.0.0.2", 1)
    book.open(3, "10.0.0.2", 2)
    assert book.open(4, "10.0.0.2", 3) == ("served", [2])
    book.began(3, 4)
    book.began(4, 4)
    assert book.open(5, "10.0.0.2", 5) == ("reserve", []), "both are busy"
    assert book.began(5, 6) == "reserve"
    assert book.open(6, "10.0.0.2", 7) == ("refused", []), "the reserve is busy, too"
    book.ended(5, 8)
    assert book.open(7, "10.0.0.2", 9) == ("reserve", [5])
    book.close(7)
    for number in (3, 4):
        book.close(number)
    assert book.open(8, "10.0.0.2", 10) == ("served", [])


def test_zero_means_no_limit_per_address() -> None:
    book = ConnectionBook(ConnectionLimits(total=3, per_address=0))
    assert [book.open(number, "10.0.0.1", 0) for number in (1, 2, 3)] == [("served", [])] * 3


def test_every_state_but_busy_has_a_deadline() -> None:
    book = ConnectionBook(SMALL)
    book.open(1, "a", 0)
    assert not book.overdue(9) and book.overdue(10) == [(1, "head_timeout")], "nothing came"
    book.received(1, 9)
    assert book.overdue(10) == [(1, "head_timeout")], "the first head counts from the opening"
    book.began(1, 9)
    assert not book.overdue(1000)
    book.ended(1, 1000)
    assert not book.overdue(1074) and book.overdue(1075) == [(1, "idle")]
    book.received(1, 1070)
    book.received(1, 1079)
    assert book.overdue(1080) == [(1, "head_timeout")], "a byte now and then gains no time"
    book.began(1, 1080)
    book.unread(1, 1081)
    assert not book.overdue(1110) and book.overdue(1111) == [(1, "unread")]
    book.unread(1, None)
    assert not book.overdue(2000)


def test_an_ipv6_network_is_one_address() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff") != source_of("2001:db8:0:1::1")
    assert source_of("::ffff:10.0.0.1") == "10.0.0.1" and source_of("::1") == "::1"
    assert source_of("fe80::1%eth0") == source_of("fe80::2") and source_of("") == ""


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "received", "began", "ended", "close", "room"]),
        st.integers(0, 11),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=80,
)


@given(_STEPS)
def test_the_limits_always_hold_and_no_busy_connection_is_closed(steps: list[tuple[str, int, str]]) -> None:
    book, here, busy, new = ConnectionBook(SMALL), set[int](), set[int](), 100
    for now, (step, at, address) in enumerate(steps):
        number = sorted(here)[at % len(here)] if here else 0
        match step:
            case "open":
                new += 1
                admitted, closed = book.open(new, address, now)
                assert not busy & set(closed)
                here -= set(closed)
                here |= {new} if admitted != "refused" else set()
            case "received":
                book.received(number, now)
            case "began":
                book.began(number, now)
                busy |= {number} & here
            case "ended":
                book.ended(number, now)
                busy -= {number}
            case "close":
                book.close(number)
                here -= {number}
                busy -= {number}
            case _:
                closed = book.make_room()
                assert not busy & set(closed)
                here -= set(closed)
        assert len(book) == len(here) <= SMALL.total + SMALL.reserve
