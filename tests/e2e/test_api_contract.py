"""The API keeps its document under schemathesis, and a key never learns anything of what is not its tenant's."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import assume
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core import NOT_SET

from app.data import ASYNCAPI
from tests.conftest import RealBroker
from tests.e2e.api_document import (
    DOCUMENT,
    GUARDED,
    LEFT_OUT,
    LISTS,
    OF_ONE_THING,
    OPERATIONS,
    Api,
    Party,
    examples,
    filled,
    fitted,
    fresh,
    kind,
    leads_nowhere,
    named,
    outcome,
    strangers,
    unlike,
    view,
)
from tests.e2e.harness import ADMIN_TOKEN, inbox, service
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(broker: RealBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    prefix, folder = f"t{secrets.token_hex(3)}.", tmp_path_factory.mktemp("api")
    unlimited = {"HOOKSTREAM_API_RATE_LIMIT": "1000000"}
    async with inbox() as (_, url), service(broker.bootstrap, prefix, folder, unlimited) as running:
        yield Api(running.api_url, url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alfa(api: Api) -> Party:
    return await asyncio.to_thread(Party.settled, api, "alfa")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bravo(api: Api) -> Party:
    return await asyncio.to_thread(Party.settled, api, "bravo")


async def test_the_committed_document_is_served_to_anyone(api: Api) -> None:
    answer = await asyncio.to_thread(api.ask, "GET", "/openapi.json", None)
    assert answer.status_code == 200
    assert answer.json() == DOCUMENT


async def test_the_committed_description_of_messages_is_served_to_anyone(api: Api) -> None:
    answer = await asyncio.to_thread(api.ask, "GET", "/asyncapi.yaml", None)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.content == ASYNCAPI.read_bytes()


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_keeps_the_document(api: Api, alfa: Party, name: str) -> None:
    operation = OPERATIONS[name]
    checks = [CHECKS.get_one(each) for each in CHECKS.get_all_names() if each not in LEFT_OUT]
    key = ADMIN_TOKEN if "operator" in str(operation.definition.raw["security"]) else alfa.live

    headers = {"Authorization": f"Bearer {key}"}

    def keep(case: Any) -> None:
        assume(leads_nowhere(case.body))
        case.call_and_validate(base_url=api.base, session=api.http, headers=headers, timeout=PATIENCE_S, checks=checks)

    def all_of_it() -> None:
        there = named(operation, fresh(api, alfa, operation.path))
        fitting = operation.as_strategy(path_parameters=there).map(lambda case: fitted(case, api.receiver))
        examples(6, keep)(fitting)
        examples(6, keep)(operation.as_strategy())
        if operation.body or operation.query or operation.headers or (operation.path_parameters and name in GUARDED):
            examples(10, keep)(operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=there))

    await asyncio.to_thread(all_of_it)


@pytest.mark.parametrize("name", GUARDED)
async def test_without_a_key_every_operation_answers_401(api: Api, alfa: Party, name: str) -> None:
    method, path = OPERATIONS[name].method.upper(), filled(OPERATIONS[name].path, alfa.things)
    body: dict[str, Any] | None = {} if OPERATIONS[name].body else None
    none = ("", "Bearer", "Bearer ", "Basic Zm9vOmJhcg==", "Bearer sk_live_none", "Bearer \xe9")
    for authorization in (*none, alfa.live):
        answer = await asyncio.to_thread(api.ask, method, path, None, body, Authorization=authorization)
        assert answer.status_code == 401, (authorization, answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert alfa.tenant not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"If_Match": '"' + "9" * 5000 + '"'},
        {"If_Match": '"\xff"'},
        {"If_Match": '"1", "2"'},
        {"Idempotency_Key": "\xff\xfe"},
        {"Idempotency_Key": "k" * 256},
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "nothing"},
        {"Content_Type": "application/json; charset=nothing"},
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_hostile_headers_cause_no_defect(api: Api, alfa: Party, headers: dict[str, str]) -> None:
    body = {"url": api.receiver, "events": ["user.created"], "description": "strange"}
    webhook = f"/v1/webhooks/{await asyncio.to_thread(api.webhook, alfa.live)}"
    for method, path, sent in (
        ("POST", "/v1/webhooks", body),
        ("POST", "/v1/events", {"type": "user.created", "data": 1}),
        ("POST", f"{webhook}/rotate-secret", {}),
        ("PATCH", webhook, body),
        ("DELETE", webhook, None),
    ):
        answer = await asyncio.to_thread(api.ask, method, path, alfa.live, sent, Connection="close", **headers)
        assert answer.status_code < 500, (method, path, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"].startswith("application/problem+json"), answer.text


@pytest.mark.parametrize("name", OF_ONE_THING)
async def test_resources_of_other_tenants_seem_not_to_exist(api: Api, alfa: Party, bravo: Party, name: str) -> None:
    operation = OPERATIONS[name]
    callers = await asyncio.to_thread(strangers, api, alfa, bravo, operation.path)
    theirs = named(operation, bravo.things[kind(operation.path)])
    nothing = {part: unlike(value) for part, value in theirs.items()}

    def compare(case: Any) -> None:
        body = None if case.body is NOT_SET else case.body
        assume(leads_nowhere(body) and isinstance(body, dict | list | bytes | None))
        for caller, key in callers.items():
            answers = [
                outcome(api.ask(operation.method.upper(), operation.path.format(**ids), key, body), ids)
                for ids in (theirs, nothing)
            ]
            assert answers[0] == answers[1], caller
            assert answers[0][0] < 500, caller

    def all_of_it() -> None:
        before = view(api, bravo)
        fitting = operation.as_strategy(path_parameters=theirs).map(lambda case: fitted(case, api.receiver))
        examples(3, compare)(fitting)
        if operation.body:
            examples(2, compare)(operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=theirs))
        assert view(api, bravo) == before

    await asyncio.to_thread(all_of_it)


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_has_nothing_of_other_tenants(api: Api, alfa: Party, bravo: Party, name: str) -> None:
    path = OPERATIONS[name].path
    own = bravo.live if name != "tenants.list" else ADMIN_TOKEN
    page = await asyncio.to_thread(api.done, "GET", f"{path}?limit=1", own)
    for caller, key in (await asyncio.to_thread(strangers, api, alfa, bravo, path)).items():
        for suffix in ("", "?limit=100", f"?cursor={page['next_cursor'] or ''}"):
            answer = await asyncio.to_thread(api.ask, "GET", path + suffix, key)
            assert answer.status_code < 500
            for thing in bravo.things["webhooks" if name == "audit.list" else kind(path)].values():
                assert thing not in answer.text, caller


async def test_an_idempotency_key_is_its_tenants_and_modes_own(api: Api, alfa: Party, bravo: Party) -> None:
    def post(key: str, path: str, body: Any) -> str:
        answer = api.ask("POST", path, key, body, Idempotency_Key=f"same for {path}")
        assert answer.ok, answer.text
        return str(answer.json()["id"])

    def all_of_it() -> None:
        endpoint = {"url": api.receiver, "events": ["user.created"]}
        for path, body in (("/v1/webhooks", endpoint), ("/v1/events", {"type": "user.created", "data": {}})):
            keys = (bravo.live, bravo.test, alfa.live)
            made = [post(key, path, body) for key in keys]
            assert len(set(made)) == len(keys)
            assert [post(key, path, body) for key in keys] == made

    await asyncio.to_thread(all_of_it)


async def test_scopes_and_the_operators_token_are_enforced(api: Api, alfa: Party) -> None:
    readers = await asyncio.to_thread(api.key, alfa.tenant, scopes=["read"])
    for name in GUARDED:
        operation = OPERATIONS[name]
        needs = operation.definition.raw["security"]
        path = filled(operation.path, alfa.things)
        keys = [] if {"operator": []} in needs else [ADMIN_TOKEN]
        if needs == [{"operator": []}]:
            keys = [alfa.live, readers["key"]]
        if {"key": ["write"]} in needs:
            keys.append(readers["key"])
        for key in keys:
            answer = await asyncio.to_thread(api.ask, operation.method.upper(), path, key, {})
            assert answer.status_code == 403, (name, answer.text)
