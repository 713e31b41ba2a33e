"""A JSON Schema (2020-12) as a graph of its subschemas, references resolved.

`enum`, `const`, `default` and `examples` contain data, even if it looks like a schema. A value of an unknown keyword
becomes a subschema if a `$ref` points to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.core.errors import HookstreamError

#: subschemas, and how deep they may be nested
MAX_NODES = 5_000
MAX_DEPTH = 100

#: keywords that apply to the value itself: with one schema, with a list of schemas, with an object of schemas
_SAME_ONE = ("not", "if", "then", "else")
_SAME_LIST = ("allOf", "anyOf", "oneOf")
_SAME_NAMED = ("dependentSchemas", "dependencies")
#: keywords with one schema that apply to the items of an array
_ITEMS = ("items", "contains", "unevaluatedItems", "additionalItems")
_DEFINITIONS = ("$defs", "definitions")


class BadSchema(HookstreamError):
    """A schema cannot be used; `pointer` is the JSON Pointer of the keyword."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}" if pointer else detail)
        self.pointer = pointer
        self.detail = detail


class Node:
    """One subschema, with the subschemas that its keywords apply."""

    __slots__ = (
        "additional",
        "any_name",
        "items",
        "keywords",
        "marks",
        "names",
        "patterns",
        "pointer",
        "prefix",
        "ref",
        "same",
        "unevaluated",
    )

    def __init__(self, pointer: str, keywords: Mapping[str, Any]) -> None:
        self.pointer = pointer
        #: the schema itself; empty for `true` and `false`
        self.keywords = keywords
        #: subschemas that apply to the same value, except the target of a reference
        self.same: list[Node] = []
        self.ref: Node | None = None
        #: for the members of an object: `properties`, `patternProperties`, `additionalProperties`, `propertyNames`
        self.names: dict[str, Node] = {}
        self.patterns: list[tuple[str, Node]] = []
        self.additional: Node | None = None
        self.any_name: Node | None = None
        #: for the items of an array: `prefixItems`, and subschemas for all items
        self.prefix: list[Node] = []
        self.items: list[Node] = []
        #: `unevaluatedProperties` or `unevaluatedItems`
        self.unevaluated: Node | None = None
        #: whether it has one of the two, for which all applicators of the value are evaluated again
        self.marks = False

    def children(self) -> Iterator[Node]:
        """Every subschema that it applies, including the target of its reference."""
        yield from self.same
        yield from self.names.values()
        yield from (each for _, each in self.patterns)
        yield from self.prefix
        yield from self.items
        for each in (self.ref, self.additional, self.any_name, self.unevaluated):
            if each is not None:
                yield each


class Graph:
    """All subschemas of a schema, including those of its definitions."""

    def __init__(self, schema: Any) -> None:
        """Raises `BadSchema` if the schema is too large, nested too deeply, or has a reference without a target."""
        self._schema = schema
        self._by_id: dict[int, Node] = {}
        self._unresolved: list[tuple[Node, str]] = []
        self.root = self._node(schema, "", 0)
        while self._unresolved:
            node, target = self._unresolved.pop()
            node.ref = self._node(self._resolved(node, target), target[1:], 0)

    @property
    def nodes(self) -> list[Node]:
        """All subschemas, in no particular order."""
        return list(self._by_id.values())

    def _node(self, schema: Any, pointer: str, depth: int) -> Node:
        if id(schema) in self._by_id and isinstance(schema, dict):
            return self._by_id[id(schema)]
        if depth > MAX_DEPTH:
            raise BadSchema(pointer[:200], f"nested deeper than {MAX_DEPTH} subschemas")
        if not isinstance(schema, dict):
            return Node(pointer, {})
        node = self._by_id[id(schema)] = Node(pointer, schema)
        if len(self._by_id) > MAX_NODES:
            raise BadSchema("", f"it has more than {MAX_NODES} subschemas")
        for keyword, value in schema.items():
            self._keyword(node, keyword, value, f"{pointer}/{escaped(keyword)}", depth + 1)
        return node

    def _keyword(self, node: Node, keyword: str, value: Any, below: str, depth: int) -> None:
        if keyword == "$ref":
            self._unresolved.append((node, _local(below, value)))
        elif keyword in _SAME_ONE:
            node.same.append(self._node(value, below, depth))
        elif keyword in _SAME_LIST:
            node.same += self._listed(value, below, depth)
        elif keyword in _SAME_NAMED:
            node.same += self._named(value, below, depth).values()
        elif keyword in _DEFINITIONS:
            self._named(value, below, depth)
        else:
            self._descend(node, keyword, value, below, depth)

    def _descend(self, node: Node, keyword: str, value: Any, below: str, depth: int) -> None:
        match keyword:
            case "properties":
                node.names = self._named(value, below, depth)
            case "patternProperties":
                node.patterns = list(self._named(value, below, depth).items())
            case "additionalProperties":
                node.additional = self._node(value, below, depth)
            case "propertyNames":
                node.any_name = self._node(value, below, depth)
            case "unevaluatedProperties":
                node.marks, node.unevaluated = True, self._node(value, below, depth)
            case "prefixItems":
                node.prefix = self._listed(value, below, depth)
            case "items" if isinstance(value, list):
                node.prefix += self._listed(value, below, depth)
            case keyword if keyword in _ITEMS:
                node.items.append(self._node(value, below, depth))
                node.marks = node.marks or keyword == "unevaluatedItems"
            case _:
                pass  # a keyword without subschemas

    def _listed(self, value: Any, below: str, depth: int) -> list[Node]:
        each = value if isinstance(value, list) else ()
        return [self._node(schema, f"{below}/{number}", depth) for number, schema in enumerate(each)]

    def _named(self, value: Any, below: str, depth: int) -> dict[str, Node]:
        each = value if isinstance(value, dict) else {}
        return {name: self._node(schema, f"{below}/{escaped(name)}", depth) for name, schema in each.items()}

    def _resolved(self, node: Node, target: str) -> Any:
        place = self._schema
        for step in target[2:].split("/") if len(target) > 2 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict) and name in place:
                place = place[name]
            elif isinstance(place, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(place):
                place = place[int(name[:9])]
            else:
                raise BadSchema(f"{node.pointer}/$ref", f"{target[:100]} does not exist in the schema")
        return place


def escaped(step: str) -> str:
    """`step` escaped as one reference token of a JSON Pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _local(below: str, target: Any) -> str:
    if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
        raise BadSchema(below, f"{str(target)[:100]}: a reference is `#` or begins with `#/`")
    return target
