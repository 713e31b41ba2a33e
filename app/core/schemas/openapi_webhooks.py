"""Event types out of the `webhooks` of an OpenAPI 3.1 document.

Rules of this file
- A schema of a declared type refers only to itself: the components that it uses are copied into its `$defs`.
- The document is a stranger's: the work is bounded by a budget of nodes, references may form circles, and whatever has
  another form than OpenAPI demands skips its webhook, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from app.core import limits
from app.core.model.event_types import RESERVED, is_event_type

#: what the schema of a webhook's body describes: the event's data, or the whole body with the property `data`
WebhookBody = Literal["data", "envelope"]
#: webhooks of one document
MAX_WEBHOOKS = 200
#: nodes of the document that are copied, for all webhooks together
MAX_NODES = 500_000
#: references that lead to one another
_MAX_REFERENCES = 20
_METHODS = ("post", "put", "patch", "get", "delete")
_COMPONENTS = "#/components/schemas/"


class WebhookType(msgspec.Struct, frozen=True, kw_only=True):
    """An event type of a document."""

    name: str
    description: str
    #: JSON text; None: the document has none
    schema: str | None
    example: str | None


class SkippedWebhook(msgspec.Struct, frozen=True):
    """A webhook that cannot be an event type."""

    name: str
    reason: str


class _Unusable(ValueError):
    """A webhook, with the reason why it is skipped."""


def read_webhooks(document: Mapping[str, Any], body: WebhookBody) -> list[WebhookType | SkippedWebhook]:
    """The event types of a document, in its order. Raises `ValueError` when the document as a whole cannot be read."""
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith("3.1"):
        raise ValueError("openapi: a document of OpenAPI 3.1 is expected; earlier versions have no webhooks")
    webhooks = document.get("webhooks")
    if not isinstance(webhooks, dict) or not webhooks:
        raise ValueError("webhooks: the document has none")
    if len(webhooks) > MAX_WEBHOOKS:
        raise ValueError(f"webhooks: at most {MAX_WEBHOOKS}; the document has {len(webhooks)}")
    reader = _Reader(document, body)
    return [reader.webhook(str(name), item) for name, item in webhooks.items()]


class _Reader:
    """Reads the webhooks of one document, with one budget for all."""

    def __init__(self, document: Mapping[str, Any], body: WebhookBody) -> None:
        self._document = document
        self._body = body
        self._nodes = 0

    def webhook(self, name: str, item: object) -> WebhookType | SkippedWebhook:
        """One event type, or why the webhook is skipped."""
        try:
            return self._type(name, item)
        except _Unusable as error:
            return SkippedWebhook(name[: limits.TYPE], str(error))
        except RecursionError:
            return SkippedWebhook(name[: limits.TYPE], "its schema is nested too deeply")

    def _type(self, name: str, item: object) -> WebhookType:
        if not is_event_type(name):
            raise _Unusable(
                "the name is not a valid event type: it must be dot-joined segments of letters, digits, _ and -"
            )
        if name.startswith(RESERVED):
            raise _Unusable(f"types that begin with {RESERVED} are the service's own")
        path_item = self._resolved(item)
        operation = next((path_item[method] for method in _METHODS if isinstance(path_item.get(method), dict)), None)
        if operation is None:
            raise _Unusable("it has no operation")
        media = self._media(operation)
        schema = media.get("schema")
        return WebhookType(
            name=name,
            description=_description(operation, path_item),
            schema=self._schema(schema) if schema is not None else None,
            example=self._example(media),
        )

    def _media(self, operation: Mapping[str, Any]) -> Mapping[str, Any]:
        """The JSON body of a request; empty where there is none."""
        if operation.get("requestBody") is None:
            return {}
        content = self._resolved(operation["requestBody"]).get("content")
        if not isinstance(content, dict):
            raise _Unusable("its request body has no content")
        for kind, media in content.items():
            essence = str(kind).partition(";")[0].strip().lower()
            if (essence == "application/json" or essence.endswith("+json")) and isinstance(media, dict):
                return media
        raise _Unusable("its request body is not JSON")

    def _resolved(self, node: object) -> Mapping[str, Any]:
        """An object of the document, behind any references to it."""
        for _ in range(_MAX_REFERENCES):
            if not isinstance(node, dict):
                raise _Unusable("a part of it is not an object")
            reference = node.get("$ref")
            if reference is None:
                return node
            node = self._at(reference)
        raise _Unusable("its references form a circle")

    def _at(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _Unusable(f"reference {str(reference)[:80]!r} leads out of the document")
        node: object = self._document
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or step not in node:
                raise _Unusable(f"the target of the reference {reference[:80]!r} does not exist")
            node = node[step]
        return node

    def _schema(self, schema: object) -> str:
        """A schema that refers only to itself."""
        if self._body == "envelope":
            schema = self._data_of(schema, 0)
        definitions: dict[str, Any] = {}
        copied = self._copied(schema, definitions)
        if definitions:
            if not isinstance(copied, dict):
                raise _Unusable("its schema is not an object")
            copied = {**copied, "$defs": {**copied.get("$defs", {}), **definitions}}
        text = msgspec.json.encode(copied).decode()
        if len(text) > limits.SCHEMA:
            raise _Unusable(f"its schema has {len(text)} characters; the limit is {limits.SCHEMA}")
        return text

    def _data_of(self, schema: object, depth: int) -> object:
        """The schema of the property `data` of an envelope."""
        if depth > _MAX_REFERENCES:
            raise _Unusable("its references form a circle")
        node = self._resolved(schema)
        properties = node.get("properties")
        if isinstance(properties, dict) and "data" in properties:
            return properties["data"]
        for part in node.get("allOf") or ():
            try:
                return self._data_of(part, depth + 1)
            except _Unusable:
                continue
        raise _Unusable("the schema of its body has no property data")

    def _copied(self, node: object, definitions: dict[str, Any]) -> Any:
        """A copy in which references to components lead into `$defs`; adds the components to `definitions`."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError("the schemas of the document are too large together: import it in parts")
        if isinstance(node, list):
            return [self._copied(each, definitions) for each in node]
        if not isinstance(node, dict):
            return node
        copied = {}
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                copied[key] = self._local(value, definitions)
            else:
                copied[key] = self._copied(value, definitions)
        return copied

    def _local(self, reference: str, definitions: dict[str, Any]) -> str:
        if not reference.startswith(_COMPONENTS):
            raise _Unusable(f"reference {reference[:80]!r} does not lead to a schema of the components")
        name, slash, rest = reference[len(_COMPONENTS) :].partition("/")
        if name not in definitions:
            definitions[name] = True  # the components may refer to one another
            definitions[name] = self._copied(self._at(_COMPONENTS + name), definitions)
        return f"#/$defs/{name}{slash}{rest}"

    def _example(self, media: Mapping[str, Any]) -> str | None:
        for value in self._examples(media):
            if self._body == "envelope":
                if not isinstance(value, dict) or "data" not in value:
                    continue
                value = value["data"]
            text = msgspec.json.encode(value).decode()
            if len(text) <= limits.SCHEMA:
                return text
        return None

    def _examples(self, media: Mapping[str, Any]) -> Iterator[object]:
        if "example" in media:
            yield media["example"]
        named = media.get("examples")
        for each in named.values() if isinstance(named, dict) else ():
            try:
                example = self._resolved(each)
            except _Unusable:
                continue
            if "value" in example:
                yield example["value"]
        try:
            schema = self._resolved(media.get("schema", {}))
        except _Unusable:
            return
        if "example" in schema:
            yield schema["example"]
        if isinstance(schema.get("examples"), list):
            yield from schema["examples"]


def _description(*nodes: Mapping[str, Any]) -> str:
    texts: Sequence[object] = [node.get(name) for node in nodes for name in ("description", "summary")]
    text = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    text = " ".join(text.split())
    return text if len(text) <= limits.DESCRIPTION else text[: limits.DESCRIPTION - 1] + "…"
