"""Profiles of addresses and keys: who wins, what is missing is explained, and a slip of the pen is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer import BadParameter

from app.cli.connect.api_target import ApiTarget, Flags, OwnApi, choose
from app.cli.connect.event_batches import BATCH, BATCH_BYTES, batches, read
from app.cli.terminal.inputs import json_of
from app.core.errors import ConfigError
from app.core.secret_text import SecretText

KAFKA = {"HOOKSTREAM_BOOTSTRAP_SERVERS": "k:9092"}
UP = OwnApi("http://127.0.0.1:8080", SecretText("op_up"))
FULL = """
[context.default]
url = "https://hooks.example.com/"
key = "sk_live_default"
admin_token_file = "admin.token"

[context.stage]
url = "https://stage.example.com/v1"
key_file = "stage.key"
ca_file = "~/stage.pem"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a file of contexts, and the files that it names."""
    folder = tmp_path / "hookstream"
    folder.mkdir()
    write(folder / "config.toml", FULL)
    write(folder / "stage.key", "sk_test_stage\n")
    write(folder / "admin.token", "op_default")
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def chosen(
    home: Path,
    flags: Flags | None = None,
    *,
    up: OwnApi | None = None,
    kafka: bool = False,
    operator: bool = False,
    direct: bool = False,
    or_operator: bool = False,
) -> ApiTarget | None:
    environ = {"XDG_CONFIG_HOME": str(home), **(KAFKA if kafka else {})}
    return choose(flags or Flags(), environ, lambda: up, operator=operator, direct=direct, or_operator=or_operator)


def asked(home: Path, flags: Flags | None = None, *, up: OwnApi | None = None, operator: bool = False) -> list[str]:
    """URL and key."""
    address = chosen(home, flags, up=up, operator=operator)
    assert address is not None
    return [address.url, address.token.reveal()]


def problems(home: Path, flags: Flags | None = None, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        chosen(home, flags, **more)
    return "\n".join(caught.value.problems)


def test_the_default_context_is_used_and_named(home: Path) -> None:
    address = chosen(home, direct=True, up=UP)
    assert address is not None and address.url == "https://hooks.example.com"
    assert address.token.reveal() == "sk_live_default"
    assert address.source == f"context default of {home}/hookstream/config.toml"


@pytest.mark.parametrize("variable", ["HOOKSTREAM_BOOTSTRAP_SERVERS", "HOOKSTREAM_BOOTSTRAP_SERVERS_FILE"])
def test_the_default_context_is_ignored_if_kafka_is_set(home: Path, variable: str) -> None:
    environ = {"XDG_CONFIG_HOME": str(home), variable: "x"}
    assert choose(Flags(), environ, lambda: None, operator=False, direct=True) is None
    assert "--context default" in problems(home, kafka=True)
    named = choose(Flags(context="default"), environ, lambda: None, operator=False, direct=True)
    assert named is not None and named.url == "https://hooks.example.com" and named.source is None


def test_a_context_is_chosen_by_name_and_its_files_lie_next_to_it(home: Path) -> None:
    assert asked(home, Flags(context="stage")) == ["https://stage.example.com", "sk_test_stage"]
    address = chosen(home, Flags(context="stage"))
    assert address is not None and address.ca_file == Path.home() / "stage.pem"
    assert asked(home, operator=True) == ["https://hooks.example.com", "op_default"]


def test_a_tenants_key_takes_precedence_over_the_operators_token(home: Path) -> None:
    address = chosen(home, or_operator=True)
    assert address is not None and address.token.reveal() == "sk_live_default"
    write(home / "hookstream" / "config.toml", FULL.replace('key = "sk_live_default"\n', ""))
    address = chosen(home, or_operator=True)
    assert address is not None and address.token.reveal() == "op_default"
    (home / "hookstream" / "config.toml").unlink()
    address = chosen(home, up=UP, or_operator=True)
    assert address is not None and address.token.reveal() == "op_up"


def test_a_flag_wins_over_the_same_field_of_a_context(home: Path, tmp_path: Path) -> None:
    assert asked(home, Flags(context="stage", key="sk_test_flag"))[1] == "sk_test_flag"
    assert asked(home, Flags(context="stage", url="http://else:1")) == ["http://else:1", "sk_test_stage"]
    assert asked(home, Flags(key="sk_live_flag")) == ["https://hooks.example.com", "sk_live_flag"]
    address = chosen(home, Flags(context="stage", ca_file="/ca.pem"))
    assert address is not None and address.ca_file == Path("/ca.pem")


def test_the_default_contexts_key_does_not_go_to_another_url(home: Path) -> None:
    assert "asks for a key" in problems(home, Flags(url="https://else.example"))
    assert "whose key goes to the URL" in problems(home, Flags(url="https://else.example", config="x.toml"))


def test_a_key_may_be_in_a_file_but_not_in_both_places(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "k", " sk_live_file \n")
    assert asked(home, Flags(key_file=str(file)))[1] == "sk_live_file"
    assert "both given" in problems(home, Flags(key="sk_live_x", key_file=str(file)))
    assert "is empty" in problems(home, Flags(key_file=str(write(tmp_path / "e", "\n"))))
    assert "is it the right file" in problems(home, Flags(key_file=str(write(tmp_path / "two", "a\nb"))))


def test_a_running_up_is_found_by_itself_and_its_token_goes_nowhere_else(tmp_path: Path) -> None:
    assert asked(tmp_path, up=UP, operator=True) == ["http://127.0.0.1:8080", "op_up"]
    assert asked(tmp_path, Flags(key="sk_live_k"), up=UP) == ["http://127.0.0.1:8080", "sk_live_k"]
    assert chosen(tmp_path, direct=True, up=UP) is None, "what goes over Kafka, goes on over Kafka"
    with pytest.raises(ConfigError, match="hookstream keys create"):
        chosen(tmp_path, up=UP)
    with pytest.raises(ConfigError, match="operator's token"):
        chosen(tmp_path, Flags(url="https://else.example"), up=UP, operator=True)


def test_on_a_machine_with_the_services_settings_its_own_api_is_used(tmp_path: Path, home: Path) -> None:
    public = OwnApi("https://hooks.example.com", SecretText("op_set"), "HOOKSTREAM_PUBLIC_URL")
    address = chosen(home, up=public, kafka=True, operator=True)
    assert address is not None and address.source == "HOOKSTREAM_PUBLIC_URL"
    assert (address.url, address.token.reveal()) == ("https://hooks.example.com", "op_set")
    assert chosen(home, up=public, kafka=True, direct=True) is None
    assert "with --tenant T" in problems(tmp_path, up=public, kafka=True)
    assert "HOOKSTREAM_PUBLIC_URL" in problems(tmp_path, kafka=True)


def test_without_an_address_the_error_explains_the_options(tmp_path: Path) -> None:
    said = problems(tmp_path)
    assert "--url" in said and "--key-file" in said and "[context.default]" in said
    assert str(tmp_path / "hookstream" / "config.toml") in said
    assert "no file of contexts" in problems(tmp_path, Flags(context="prod"))
    assert "No such file" in problems(tmp_path, Flags(config=str(tmp_path / "missing.toml")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[context.default]\nurl = "https://x"\nkye = "k"', "[context.default] kye is unknown; did you mean key?"),
        ('[contexts.default]\nurl = "https://x"', "contexts is unknown; did you mean context?"),
        ('[context.default]\nkey = "k"', "has no url"),
        ('[context.default]\nurl = "https://x"\nkey = "k"\nkey_file = "f"', "key and key_file are both set"),
        ('[context.default]\nurl = "https://x"\nkey = 7', "key: text in quotes"),
        ('context = "x"', "write [context.NAME]"),
        ("[context", "is not TOML"),
        ('[profile.default]\nurl = "https://x"', "write [context.NAME] in each, and --context NAME instead of --as"),
        ('[context.default]\nurl = "https://x"', "has neither key nor key_file"),
        ('[context.default]\nurl = "https://x"\nkey_file = "gone"', "key_file: "),
        ('[context.default]\nurl = "hooks.example.com"\nkey = "k"', "is no address of an API"),
        ('[context.default]\nurl = "https://u:p@x"\nkey = "k"', "is no address of an API"),
        ('[context.default]\nurl = "https://x:port"\nkey = "k"', "is no address of an API"),
        ('[context.prod]\nurl = "https://x"', "no [context.default]; it has prod"),
        ('[context.defualt]\nurl = "https://x"', "no [context.default]; did you mean defualt?"),
    ],
)
def test_a_problem_with_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, Flags(config=str(write(tmp_path / "own.toml", text))))


def test_all_problems_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    file = write(tmp_path / "own.toml", '[context.a]\nurl = 1\n[context.b]\nulr = "x"\n[other]\n')
    said = problems(tmp_path, Flags(config=str(file)))
    assert len(said.splitlines()) == 4, said  # other, a.url, b.ulr, b has no url


def test_a_file_that_cannot_be_read_is_an_error_and_not_no_file(tmp_path: Path) -> None:
    (tmp_path / "hookstream" / "config.toml").mkdir(parents=True)
    assert "Is a directory" in problems(tmp_path, direct=True)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "is not TOML" in problems(tmp_path, Flags(config=str(binary)))


def test_keys_that_others_can_read_are_warned_of(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen(home)
    assert capsys.readouterr().err == ""
    (home / "hookstream" / "config.toml").chmod(0o644)
    chosen(home)
    assert "chmod 600" in capsys.readouterr().err


def test_events_are_kept_byte_for_byte(tmp_path: Path) -> None:
    one, two = b'{"type":"a.b", "data":{"n":1.50,"big":12345678901234567890123}}', b'{"type":"c.d","data":null}'
    file = tmp_path / "events"
    for text in (one + b"\n" + two + b"\n", b"[" + one + b",\n " + two + b"]"):
        file.write_bytes(text)
        assert read(str(file)) == [one, two]
    file.write_bytes(b"\n" + one + b"\n")
    assert read(str(file)) == [one]
    file.write_bytes(b" \n")
    assert read(str(file)) == []


@pytest.mark.parametrize(("text", "line"), [(b'{"a":"\xff"}', 1), (b'{"a":1}\n{"a":"\xff"}', 2), (b'{"\xff":1}', 1)])
def test_input_that_is_not_utf_8_causes_a_message_and_no_traceback(tmp_path: Path, text: bytes, line: int) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(text)
    with pytest.raises(BadParameter, match=f"line {line} is not JSON"):
        read(str(file))
    with pytest.raises(BadParameter, match="--data is not JSON"):
        json_of("--data", f"@{file}")


def test_batches_hold_what_one_request_may() -> None:
    small = [b"%d" % number for number in range(2 * BATCH + 1)]
    assert [len(batch) for batch in batches(small)] == [BATCH, BATCH, 1]
    assert [event for batch in batches(small) for event in batch] == small
    large = [b"x" * (BATCH_BYTES // 2 + 1)] * 2 + [b"y" * (2 * BATCH_BYTES)]
    assert [len(batch) for batch in batches(large)] == [1, 1, 1]
    assert list(batches([])) == []
