"""The API as its document describes it: operations, parties who use them, and what may differ between answers."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from tests.e2e.harness import ADMIN_TOKEN
from tests.patience import LOOKS, PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"


DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


LONG_AGO = "2020-01-01T00:00:00Z"


#: what a document cannot say: a URL that parses but leads nowhere is 422, and so is a type that no catalogue knows
LEFT_OUT = {"positive_data_acceptance", "ignored_auth", "unsupported_method", "max_response_time"}


#: what may be answered to a body that violates its schema; 413: one that is too large, too, is not read
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx"]


CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})


PARSED = list(schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG).get_all_operations())


assert all(isinstance(each, Ok) for each in PARSED)


OPERATIONS = {
    operation.definition.raw["operationId"]: operation
    for operation in (each.ok() for each in PARSED if isinstance(each, Ok))
    if operation.definition.raw["operationId"] != "events.stream"  # it does not end: tests/api/test_streaming.py
}


GUARDED = [name for name, operation in OPERATIONS.items() if operation.definition.raw["security"]]


OF_ONE_THING = [name for name in GUARDED if "{" in OPERATIONS[name].path]


LISTS = [name for name in OPERATIONS if name.endswith(".list")]


class Api:
    """The API of a running service."""

    def __init__(self, base: str, receiver: str) -> None:
        self.base = base
        #: the only URL that endpoints are given
        self.receiver = receiver
        self.http = requests.Session()
        self.http.trust_env = False

    def ask(self, method: str, path: str, key: str | None, body: Any = None, **headers: str) -> requests.Response:
        """One request."""
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if body is not None:
            headers.setdefault("Content_Type", "application/json")
        return self.http.request(
            method,
            self.base + path,
            timeout=PATIENCE_S,
            allow_redirects=False,
            data=json.dumps(body).encode() if isinstance(body, dict | list) else body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def done(self, method: str, path: str, key: str, body: Any = None) -> Any:
        """What a request that has to succeed answers."""
        answer = self.ask(method, path, key, body)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def key(self, tenant: str, mode: str = "live", **more: Any) -> Any:
        """A fresh key of a tenant."""
        return self.done("POST", f"/v1/tenants/{tenant}/keys", ADMIN_TOKEN, {"mode": mode, **more})

    def webhook(self, key: str) -> str:
        """A fresh endpoint's id."""
        return str(self.done("POST", "/v1/webhooks", key, {"url": self.receiver, "events": ["user.created"]})["id"])

    def event_type(self, key: str) -> str:
        """A fresh event type's name."""
        name = f"own.t{secrets.token_hex(4)}"
        self.done("PUT", f"/v1/event-types/{name}", key, {"description": "its own"})
        return name

    def replay(self, key: str, webhook: str) -> str:
        """A fresh replay's id: what a pause leaves behind."""
        before = {each["id"] for each in self.done("GET", "/v1/replays?limit=100", key)["data"]}
        self.done("POST", f"/v1/webhooks/{webhook}/pause", key)
        self.done("POST", f"/v1/webhooks/{webhook}/resume", key)
        (made,) = {each["id"] for each in self.done("GET", "/v1/replays?limit=100", key)["data"]} - before
        return str(made)

    def delivery(self, key: str) -> dict[str, str]:
        """A fresh event that one endpoint got, and its delivery, which has failed once and was cancelled."""
        event = self.done("POST", "/v1/events", key, {"type": "user.created", "data": {}})["id"]
        (found,) = self.until(key, f"/v1/deliveries?event={event}", lambda page: page["data"][0]["attempt_count"] > 0)
        self.done("POST", f"/v1/deliveries/{found['id']}/cancel", key)
        self.until(key, f"/v1/deliveries?event={event}", lambda page: page["data"][0]["state"] == "cancelled")
        return {"event": str(event), "delivery": str(found["id"])}

    def until(self, key: str, path: str, condition: Callable[[Any], bool]) -> Any:
        """The entries of a list that is not empty, once it satisfies a condition."""
        for _ in range(LOOKS):
            page = self.done("GET", path, key)
            if page["data"] and condition(page):
                return page["data"]
            time.sleep(0.1)  # the read model follows what happens; a foreign process leaves no other way
        raise AssertionError(page)


class Party(msgspec.Struct):
    """A tenant with its keys and one of everything."""

    tenant: str
    live: str
    test: str
    #: path parameters by the first word of the path
    things: dict[str, dict[str, str]]
    #: who may act for it, as the audit log names them
    actors: frozenset[str]

    @classmethod
    def settled(cls, api: Api, tenant: str) -> Party:
        api.done("POST", "/v1/tenants", ADMIN_TOKEN, {"id": tenant})
        keys = api.key(tenant), api.key(tenant, "test")
        live, test = (each["key"] for each in keys)
        webhook, _ = api.webhook(live), api.webhook(test)
        made = api.delivery(live)
        things = {
            "events": {"id": made["event"]},
            "deliveries": {"id": made["delivery"]},
            "webhooks": {"id": webhook},
            "event-types": {"name": api.event_type(live)},
            "replays": {"id": api.replay(live, webhook)},
            "erasures": {"id": api.done("POST", "/v1/erasures", live, {"subject": tenant})["id"]},
            "tenants": {"id": tenant, "key": api.key(tenant)["id"]},
        }
        return cls(tenant, live, test, things, frozenset({"operator", *(each["id"] for each in keys)}))


def strangers(api: Api, alfa: Party, bravo: Party, path: str) -> dict[str, str]:
    """Keys that have no part in what is bravo's, live mode."""
    revoked = api.key(bravo.tenant)
    api.done("DELETE", f"/v1/tenants/{bravo.tenant}/keys/{revoked['id']}", ADMIN_TOKEN)
    found = {
        "another tenant": alfa.live,
        "another tenant, reading": api.key(alfa.tenant, scopes=["read"])["key"],
        "another tenant, test mode": alfa.test,
        "revoked": revoked["key"],
        "expired": api.key(bravo.tenant, expires_at=LONG_AGO)["key"],
    }
    if kind(path) != "event-types":  # which are of both modes
        found["the other mode"] = bravo.test
    return found


def view(api: Api, party: Party) -> list[Any]:
    """All that a tenant can see of itself, and the operator of it."""
    seen = []
    for name, operation in OPERATIONS.items():
        if operation.method.upper() == "GET" and name in GUARDED and name != "tenants.list":
            path = filled(operation.path, party.things)
            keys = [ADMIN_TOKEN] if kind(path) == "tenants" else [party.live, party.test]
            query = "?limit=100" if name in LISTS or name == "tenants.list_keys" else ""
            for key in keys:
                answer = api.ask("GET", path + query, key)
                # the tenant's endpoint is pushed to: what is there to be pulled is a conflict
                assert answer.ok or key == party.test or (name.startswith("pulls.") and answer.status_code == 409)
                shown = without_progress(answer.json())
                if name == "audit.list":  # it follows the log: what the party itself has done may still arrive
                    shown = {"data": [each for each in shown["data"] if each["actor"] not in party.actors]}
                seen.append((path, answer.status_code, shown))
    return seen


def without_progress(shown: Any) -> Any:
    """Without what a replay changes by itself, and without the present."""
    if isinstance(shown, dict):
        if "as_of" in shown:
            shown = shown | {"as_of": "", "since": "", "until": ""}
        going = {"sent": 0, "updated_at": "", "state": shown.get("state") == "cancelled"} if "sent" in shown else {}
        return {name: without_progress(value) for name, value in (without_request(shown) | going).items()}
    return [without_progress(each) for each in shown] if isinstance(shown, list) else shown


def outcome(answer: requests.Response, ids: dict[str, str]) -> tuple[int, str, Any]:
    """Status, media type and body, without what names the request."""
    text = answer.text
    for part, value in ids.items():
        text = text.replace(value, f"<{part}>")
    return answer.status_code, answer.headers.get("content-type", ""), without_request(json.loads(text or "null"))


def without_request(body: Any) -> Any:
    return {name: value for name, value in body.items() if name != "instance"} if isinstance(body, dict) else body


def unlike(value: str) -> str:
    """A name of the same form that nothing has."""
    return value[:-4] + "zzzz"


def kind(path: str) -> str:
    """What a path is about."""
    if path.startswith("/.well-known/webhook-keys/"):
        return "webhooks"
    return path.split("/")[2] if path.startswith("/v1/") else ""


def named(operation: Any, things: dict[str, str]) -> dict[str, str]:
    """The path parameters of an operation."""
    return {name: things[name] for name in re.findall(r"\{(\w+)\}", operation.path)}


def filled(path: str, things: dict[str, dict[str, str]]) -> str:
    return path.format(**things.get(kind(path), {}))


def fresh(api: Api, party: Party, path: str) -> dict[str, str]:
    """Path parameters of things that may be destroyed."""
    match kind(path):
        case "webhooks":
            return {"id": api.webhook(party.live)}
        case "event-types":
            return {"name": api.event_type(party.live)}
        case "events" | "deliveries" | "erasures":
            return party.things[kind(path)]
        case "replays":
            return {"id": api.replay(party.live, api.webhook(party.live))}
        case "tenants":
            tenant = api.done("POST", "/v1/tenants", ADMIN_TOKEN, {"id": f"t{secrets.token_hex(4)}"})["id"]
            return {"id": tenant, "key": api.key(tenant)["id"]}
        case _:
            return {}


def examples(count: int, check: Callable[[Any], None]) -> Callable[[st.SearchStrategy[Any]], None]:
    """Run a check on so many cases, the same in every run."""

    def run(strategy: st.SearchStrategy[Any]) -> None:
        settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(case=strategy)(lambda case: check(case)))()

    return run


def parts(body: Any) -> list[dict[str, Any]]:
    return [each for each in (body if isinstance(body, list) else [body]) if isinstance(each, dict)]


def leads_nowhere(body: Any) -> bool:
    """Whether no URL in it is another machine's."""
    urls = [part["url"] for part in parts(body) if isinstance(part.get("url"), str)]
    return all("//" not in url or url.startswith("http://127.0.0.1:") for url in urls)


def fitted(case: Any, receiver: str) -> Any:
    """The case with values of which the service knows more than the document says, so that it gets further."""
    known = {
        "url": receiver,
        "events": ["user.*"],
        "profile": "standard",
        "signature": "standard",
        "type": "user.created",
        "secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "signing_key": "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2099-01-01T00:00:00+01:00",
        "schema": {"type": "object"},
        "headers": {"x-a": "b"},
    }
    for part in parts(case.body):
        part |= {name: value for name, value in known.items() if part.get(name) is not None}
        if case.operation.path == "/v1/tenants/{id}":
            part["id"] = case.path_parameters["id"]
        elif "id" in part and "data" in part:
            part["id"] = "evt-1"
    return case
