"""Problems of a request carry the names of the options that one types."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from app.cli.commands import endpoints, events_send, keys, replay, tenants
from app.cli.terminal.option_problems import names_of, sentence_of, use_names
from app.core.errors import CommandRefused

Command = Callable[..., None]


def use(command: Command) -> None:
    use_names(names_of(list(inspect.signature(command, eval_str=True).parameters.values())))


@pytest.mark.parametrize(
    ("command", "pointer", "option"),
    [
        (endpoints.add, "/timeout", "--timeout"),
        (endpoints.add, "/max_in_flight", "--max-in-flight"),
        (endpoints.add, "/metadata", "--label"),
        (endpoints.add, "/headers/X-Team", "--header X-Team"),
        (endpoints.add, "/schedule/2", "--schedule, value 3"),
        (endpoints.add, "/events/0", "--events, value 1"),
        (endpoints.add, "/url", "URL"),
        (endpoints.add, "/unsigned", "--no-secret"),
        (endpoints.update, "/url", "--new-url"),
        (endpoints.update, "/active", "--status"),
        (keys.create, "/scopes/0", "--scope, value 1"),
        (keys.create, "/expires_at", "--expires-at"),
        (replay.start, "/from", "--from"),
        (replay.start, "/rate", "--rate"),
        (tenants.add, "/notify_emails/1", "--notify-email, value 2"),
        (tenants.add, "/id", "TENANT-ID"),
    ],
)
def test_a_field_is_shown_as_its_option(command: Command, pointer: str, option: str) -> None:
    use(command)
    assert (
        sentence_of(CommandRefused("invalid", "as the API has it", [(pointer, "at most 3")])) == f"{option}: at most 3"
    )


def test_each_of_several_problems_has_a_line() -> None:
    use(endpoints.add)
    error = CommandRefused("invalid", "x", [("/timeout", "timeout: at most 300"), ("/events", "at least 1")])
    assert sentence_of(error) == "\n  --timeout: at most 300\n  --events: at least 1"


def test_the_registrys_own_sentence_is_taken_apart() -> None:
    use(endpoints.update)
    error = CommandRefused("invalid", "timeout: at most 300; an endpoint without a secret cannot be signed")
    assert sentence_of(error) == "\n  --timeout: at most 300\n  an endpoint without a secret cannot be signed"


@pytest.mark.parametrize(
    "error",
    [
        CommandRefused("not_found", "there is no endpoint ep_1"),
        CommandRefused("invalid", "events must not name `tenant` (at /500)", [("/500", "must not name `tenant`")]),
    ],
)
def test_what_no_option_is_about_stays_as_it_is(error: CommandRefused) -> None:
    use(events_send.send)
    assert sentence_of(error) == error.detail
