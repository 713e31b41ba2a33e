"""Every operation that changes something is in the audit log; a new one has to be sorted in here."""

from __future__ import annotations

from app.api.server.routes import ROUTES

#: by the registry's writer, in the transaction of the change (tests/roles/registry/test_audit.py,
#: tests/roles/registry/test_role.py)
BY_THE_REGISTRY = {
    "webhooks.create",
    "webhooks.patch",
    "webhooks.delete",
    "actions.pause",
    "actions.resume",
    "actions.disable",
    "actions.enable",
    "actions.rotate",
    "actions.rotate_key",
    "actions.recover",
    "actions.verify",
    "erasures.create",
    "event_types.put",
    "event_types.delete",
    "event_types.import_openapi",
    "replays.create",
    "replays.cancel",
    "replays.pause",
    "replays.resume",
    "tenants.create",
    "tenants.put",
    "tenants.patch",
    "tenants.delete",
    "tenants.create_key",
    "tenants.revoke_key",
}
#: by the handler (tests/api/test_retries.py, tests/api/test_discards.py, tests/e2e/test_audit.py)
BY_THE_API = {
    "actions.test",
    "retries.retry_many",
    "retries.retry",
    "retries.cancel",
    "discards.discard_many",
    "portal.create",
}
#: a key that appends events is a service at work: only those that a person sends are entries
BY_THE_API_FOR_PEOPLE = {"events.create"}


#: a receiver at work, as one that answers requests
BY_RECEIVERS = {"pulls.commit"}
#: they change nothing: their bodies are too long for a query
READS = {"filters.test", "previews.show"}


def test_each_operation_that_changes_something_has_an_entry() -> None:
    changing = {route.name for route in ROUTES if route.method != "GET"}
    assert changing == BY_THE_REGISTRY | BY_THE_API | BY_THE_API_FOR_PEOPLE | BY_RECEIVERS | READS
