"""Exports of Svix, Convoy and Outpost become endpoints; what cannot be carried over is listed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import svix.models

from app.adapters.secrets.keyring import AesKeyRing
from tests.cli.configuration import svix_export
from tests.cli.configuration.runs import Commands, Result
from tests.dashboard.stage import Stage


async def run(commands: Commands, product: str, export: Any, *words: str) -> Result:
    text = export if isinstance(export, str) else json.dumps(export)
    return await commands("import", product, str(commands.write("export.json", text)), *words)


def to(commands: Commands) -> tuple[str, str]:
    return "--to", str(commands.folder / "out")


def open_secret(ring: AesKeyRing, stage: Stage, tenant: str, uid: str) -> str:
    endpoint = stage.feed.directory.endpoint_named(tenant, "live", uid)
    assert endpoint is not None
    return ring.open(endpoint.secrets[0], endpoint.secret_owner)


async def test_a_thousand_endpoints_of_svix(stage: Stage, commands: Commands) -> None:
    export = svix_export.applications(20, 50)
    done = await run(commands, "svix", export, *to(commands))
    assert done.code == 0 and done.out.startswith("1000 of 1000 endpoints carried over; ")
    applied = await commands("apply", "-f", str(commands.folder / "out"))
    assert applied.code == 0 and "1020 changes made." in applied.out
    again = await commands("apply", "-f", str(commands.folder / "out"), "--prune")
    assert (again.code, again.out) == (0, "Nothing to change: 1020 entries as described.\n")
    assert stage.feed.directory.tenants["customer-1"].name == "Customer 1"
    for app in export["applications"]:
        tenant = app["uid"] or app["id"]
        for each in app["endpoints"]["data"]:
            uid = each["uid"] or f"svix-{each['id']}"
            endpoint = stage.feed.directory.endpoint_named(tenant, "live", uid)
            assert endpoint is not None
            assert (endpoint.url, endpoint.description) == (each["url"], each["description"])
            assert list(endpoint.events) == (each["eventTypes"] or ["*"])
            assert endpoint.status == ("disabled" if each["disabled"] else "active")
            assert (endpoint.rate_limit, endpoint.metadata) == (each["throttleRate"], each["metadata"])
            assert list(endpoint.channels or []) == (each["channels"] or [])
            assert endpoint.headers == each["headers"]["headers"] and endpoint.signature == "recall"
            assert endpoint.envelope == "raw"
            assert stage.ring.open(endpoint.secrets[0], endpoint.secret_owner) == each["secret"]["key"]


def test_the_export_is_as_svix_documents_it() -> None:
    for each in svix_export.applications(2, 50)["applications"]:
        svix.models.ApplicationOut.model_validate(each)
        page = svix.models.ListResponseEndpointOut.model_validate(each["endpoints"])
        assert len(page.data) == 50
        names = {field.alias for field in svix.models.EndpointOut.model_fields.values()}
        for endpoint in each["endpoints"]["data"]:
            assert endpoint.keys() - {"secret", "headers"} == names, "the library ignores names that it does not know"
            svix.models.EndpointSecretOut.model_validate(endpoint["secret"])
            svix.models.EndpointHeadersOut.model_validate(endpoint["headers"])


async def test_names_of_svix_before_2026_count(stage: Stage, commands: Commands) -> None:
    former = svix_export.endpoint(1, uid="former", filterTypes=["user.created"], rateLimit=7)
    del former["eventTypes"], former["throttleRate"]
    done = await run(commands, "svix", svix_export.page([former]), "--tenant", "acme", "--apply")
    endpoint = stage.feed.directory.endpoint_named("acme", "live", "former")
    assert done.code == 0 and endpoint is not None
    assert (list(endpoint.events), endpoint.rate_limit) == (["user.created"], 7)


async def test_secrets_are_files_of_the_owner(commands: Commands) -> None:
    done = await run(commands, "svix", svix_export.page([svix_export.endpoint(1)]), "--tenant", "acme", *to(commands))
    (secret,) = (commands.folder / "out" / "secrets" / "acme").iterdir()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and secret.read_text().startswith("whsec_")
    text = (commands.folder / "out" / "tenants" / "acme.yaml").read_text()
    assert "whsec_" not in text + done.out + done.err and f"file:../secrets/acme/{secret.name}" in text


async def test_an_export_can_be_applied_at_once(stage: Stage, commands: Commands) -> None:
    pages = "\n".join(json.dumps(svix_export.page([svix_export.endpoint(each)], done=False)) for each in (1, 2))
    words = ("--tenant", "acme", "--apply")
    planned = await run(commands, "svix", pages, *words, "--dry-run")
    assert planned.code == 2 and "2 to create" in planned.out and "whsec_" not in planned.out
    done = await run(commands, "svix", pages, *words)
    assert done.code == 0 and "2 changes made." in done.out
    assert open_secret(stage.ring, stage, "acme", "customer-2") == svix_export.endpoint(2)["secret"]["key"]


async def test_hostile_values_are_skipped_and_listed(stage: Stage, commands: Commands) -> None:
    good = svix_export.endpoint(1, uid="good")
    hostile: list[Any] = [
        *(5, None, "x", [], {"url": []}, {"data": {}}),
        svix_export.endpoint(2, url=5),
        svix_export.endpoint(3, uid="../../etc/passwd"),
        svix_export.endpoint(4, uid=".."),
        svix_export.endpoint(5, uid={"$ne": 1}, id=7),
        svix_export.endpoint(6, uid="good", url="https://another.example"),
        svix_export.endpoint(7, eventTypes=["a..b"]),
        svix_export.endpoint(8, url="javascript:alert(1)"),
    ]
    partly = [
        svix_export.endpoint(10, uid="p0", metadata={"a": "x" * 9999}, throttleRate=1e99, description="d" * 5000),
        svix_export.endpoint(11, uid="p1", secret={"key": "whsk_" + "c2VjcmV0" * 4}),
        svix_export.endpoint(13, uid="p2", secret="not base64!"),
        svix_export.endpoint(
            14, uid="p3", headers={"headers": {"Host": "x", "X-B": "a\r\nb", "X-C": 5}, "sensitive": ["S"]}
        ),
        svix_export.endpoint(16, uid="p4", eventTypes=["a..b", "a.b", 5]),
        svix_export.endpoint(17, uid="n" * 256, description="\x1b[31mred\u2028", secret="file:/etc/passwd"),
        svix_export.endpoint(19, uid="p6", channels=["with space"]),
    ]
    done = await run(commands, "svix", svix_export.page([good, *hostile, *partly]), "--tenant", "acme", *to(commands))
    assert done.code == 0 and done.out.startswith(f"{1 + len(partly)} of {1 + len(hostile) + len(partly)} endpoints")
    assert "\x1b" not in done.err
    for words in ("uid good occurs twice, with another URL", "S': Svix does not show", "'Host': Host is set by"):
        assert words in done.err
    report = (commands.folder / "out" / "import-report.txt").read_text()
    assert all(f"ep_{number:027d}" in report for number in (2, 3, 4, 6, 7, 8, 10, 11, 13, 14, 16))
    written = sorted(path for path in commands.folder.rglob("*") if path.is_file())
    assert all(path.is_relative_to(commands.folder / "out") or path.name == "export.json" for path in written)
    applied = await commands("apply", "-f", str(commands.folder / "out"))
    assert applied.code == 0, applied.err
    assert stage.feed.directory.endpoint_named("acme", "live", "n" * 256) is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"data": []} x', "the document that begins in line 1 is not JSON"),
        ("\xff", "the export has no endpoints"),
        ("{}", "the export has no endpoints: is it the answer of the right route?"),
    ],
)
async def test_a_bad_export_is_wrong_usage(commands: Commands, text: str, sentence: str) -> None:
    for product in ("svix", "convoy", "outpost"):
        done = await run(commands, product, text, "--tenant", "acme", *to(commands))
        assert done.code == 2 and (sentence in done.err or "is not JSON" in done.err)


async def test_tenants_that_are_paths_stay_in_the_folder(commands: Commands) -> None:
    for tenant in ("..", ".", "a/b", "x" * 200, ""):
        export = {"applications": [{"uid": tenant, "id": "app/1", "endpoints": [svix_export.endpoint(1)]}]}
        done = await run(commands, "svix", export, *to(commands))
        assert done.code == 0 and done.out.startswith("0 of 1 endpoint carried over")
    assert not list(Path(commands.folder).rglob("*.secret"))


async def test_wrong_options_are_named_all_at_once(commands: Commands) -> None:
    done = await run(commands, "svix", "{}", "--profile", "x", "--signature", "y", "--dry-run")
    assert done.code == 2 and [line.partition(":")[0] for line in done.err.splitlines()] == [
        "--profile",
        "--signature",
        "give either --to DIR, for files that `hookstream apply` reads, or --apply",
        "--dry-run belongs to --apply; for files",
    ]


def convoy(*contents: Any) -> str:
    """Answers of Convoy's lists, after each other."""
    answers = [{"status": True, "message": "", "data": {"content": each, "pagination": {}}} for each in contents]
    return "\n".join(map(json.dumps, answers))


def subscription(uid: str, of: str, types: list[str], body: Any = None, headers: Any = None) -> dict[str, Any]:
    return {
        "uid": uid,
        "name": uid,
        "type": "api",
        "endpoint_metadata": {"uid": of},
        "filter_config": {"event_types": types, "filter": {"body": body or {}, "headers": headers or {}}},
    }


async def test_endpoints_of_convoy_with_their_subscriptions(stage: Stage, commands: Commands) -> None:
    endpoint: dict[str, Any] = {
        "owner_id": "acme",
        "status": "active",
        "http_timeout": 10,
        "rate_limit": 120,
        "rate_limit_duration": 60,
    }
    secrets: list[dict[str, Any]] = [
        {"value": "whsec_" + "b2xk" * 8, "created_at": "2023-01-01", "expires_at": "2023-02-01"},
        {"value": "whsec_" + "bmV3" * 8, "created_at": "2024-01-01", "expires_at": None},
    ]
    key = {"type": "api_key", "api_key": {"header_name": "X-Api-Key", "header_value": "hidden"}}
    export = convoy(
        [
            endpoint
            | {"uid": "01A", "url": "https://a.example", "name": "A", "secrets": secrets, "authentication": key},
            endpoint | {"uid": "01B", "url": "https://b.example", "status": "paused", "support_email": "x@y.example"},
            endpoint | {"uid": "01C", "url": "https://c.example"},
            endpoint | {"uid": "01D", "url": "https://d.example"},
        ],
        [
            subscription("s1", "01A", ["a.b"]),
            subscription("s2", "01A", ["c.d", "a.b"]),
            subscription("s3", "01B", ["*"], {"amount": {"$gte": 5}}),
            subscription("s4", "01B", ["x.y"], {"name": {"$regex": "^a"}}),
            subscription("s5", "01D", ["*"], headers={"x-a": "b"}),
            subscription("s6", "gone", ["*"]),
        ],
    )
    done = await run(commands, "convoy", export, *to(commands))
    assert done.code == 0 and done.out.startswith("4 of 5 endpoints carried over")
    for words in ("01C: skipped: it has no subscription", "01B: support_email", "gone: skipped", "01D: disabled:"):
        assert words in done.err
    applied = await commands("apply", "-f", str(commands.folder / "out"))
    assert applied.code == 0, applied.err
    of = stage.feed.directory.endpoint_named
    a, b3, b4, d = (of("acme", "live", uid) for uid in ("01A", "01B-s3", "01B-s4", "01D"))
    assert a is not None and b3 is not None and b4 is not None and d is not None
    assert (a.events, a.rate_limit, a.timeout, a.status) == (("a.b", "c.d"), 2, 10, "active")
    assert stage.ring.open(a.secrets[0], a.secret_owner) == secrets[1]["value"]
    assert stage.ring.open(a.sealed_headers["X-Api-Key"], a.secret_owner) == "hidden"
    assert (b3.filter, b3.status, b3.events) == ({"data": {"amount": {"$gte": 5}}}, "disabled", ("*",))
    assert (b4.filter, b4.status, d.filter, d.status) == (None, "disabled", None, "disabled")


async def test_destinations_of_outpost(stage: Stage, commands: Commands) -> None:
    destination: dict[str, Any] = {
        "id": "des_1",
        "type": "webhook",
        "topics": ["user.created"],
        "filter": {"data": {"amount": {"$gte": 100}}},
        "disabled_at": None,
        "config": {"url": "https://a.example", "custom_headers": '{"x-api-key":"hidden","x-team":"a"}'},
        "credentials": {"secret": "whsec_" + "c2VjcmV0" * 4},
        "metadata": {"team": "a"},
    }
    others = [
        destination | {"id": "des_2", "topics": "*", "filter": None, "disabled_at": "2024-03-01T12:00:00Z"},
        destination | {"id": "des_3", "type": "aws_sqs"},
        destination | {"id": "des_4", "config": {"url": "https://d.example", "custom_headers": "{"}},
    ]
    export = {"tenants": [{"id": "acme", "metadata": {"a": "b"}, "destinations": [destination, *others]}]}
    done = await run(commands, "outpost", export, *to(commands), "-o", "json")
    report = done.json()
    assert (report["read"], report["carried_over"]) == (4, 3)
    assert {each["endpoint"] for each in report["losses"]} == {"des_3", "des_4"}
    assert (await commands("apply", "-f", str(commands.folder / "out"))).code == 0
    assert stage.feed.directory.tenants["acme"].metadata == {"a": "b"}
    first = stage.feed.directory.endpoint_named("acme", "live", "des_1")
    second = stage.feed.directory.endpoint_named("acme", "live", "des_2")
    assert first is not None and second is not None
    assert (first.events, first.filter, first.metadata) == (("user.created",), destination["filter"], {"team": "a"})
    assert stage.ring.open(first.secrets[0], first.secret_owner) == "whsec_" + "c2VjcmV0" * 4
    assert stage.ring.open(first.sealed_headers["x-api-key"], first.secret_owner) == "hidden"
    assert (second.events, second.status) == (("*",), "disabled")
