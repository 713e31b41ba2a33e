"""A transform: a JMESPath expression that makes new data of an event's fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from app.core import limits
from app.core.errors import TransformFailed

#: compiled expressions in memory; the largest has about 100 KiB
_COMPILED = 256
#: functions whose argument may be an expression (`&name`)
_OF_EXPRESSIONS = frozenset(("map", "max_by", "min_by", "sort_by"))
_SHOWN = 200

_Node = dict[str, Any]


class CompiledTransform(msgspec.Struct, frozen=True):
    """A parsed expression; None if it has problems."""

    root: _Node | None
    problems: list[str]


def transformed(expression: str, fields: Mapping[str, Any]) -> bytes:
    """The JSON that an expression makes of an event's fields; raises `TransformFailed`."""
    from app.core.transforms.interpreter import BoundedInterpreter

    compiled = compiled_transform(expression)
    if compiled.root is None:
        raise TransformFailed("; ".join(compiled.problems))
    interpreter = BoundedInterpreter()
    try:
        result = interpreter.visit(compiled.root, fields)
        interpreter.size(result)
        encoded = msgspec.json.encode(result)
    except RecursionError as error:
        raise TransformFailed("the event's data is nested too deeply") from error
    except TransformFailed:
        raise
    except Exception as error:  # the library raises ValueError and TypeError for some values, and may quote them
        raise TransformFailed(f"it cannot be evaluated for this event ({type(error).__name__})") from error
    if encoded == b"null":
        raise TransformFailed("its result is null: nothing in the event is where it looks")
    if len(encoded) > limits.TRANSFORM_BYTES:
        raise TransformFailed(f"its result has more than {limits.TRANSFORM_BYTES} bytes")
    return encoded


def transform_problems(expression: str | None) -> Iterator[str]:
    """All problems of an endpoint's transform, if it has one."""
    if expression is not None:
        yield from compiled_transform(expression).problems


@lru_cache(_COMPILED)
def compiled_transform(expression: str) -> CompiledTransform:
    """Parse an expression and check its bounds."""
    if len(expression) > limits.TRANSFORM:
        return CompiledTransform(None, [f"at most {limits.TRANSFORM} characters"])
    from jmespath.exceptions import JMESPathError, ParseError
    from jmespath.parser import Parser

    try:
        root: _Node = Parser().parse(expression).parsed
        problems = list(_problems(root))
    except ParseError as error:
        problems = [_in_words(error)]
    except JMESPathError:
        problems = ["is empty"]
    except RecursionError:
        problems = [f"is nested more deeply than {limits.TRANSFORM_DEPTH} levels"]
    except Exception:  # such as a number of too many digits, or the end where the library expects more
        problems = ["is not a JMESPath expression"]
    else:
        if not problems:
            return CompiledTransform(root, [])
    finally:
        Parser.purge()  # its cache has a bound by number only
    return CompiledTransform(None, problems)


def _problems(root: _Node) -> Iterator[str]:
    from jmespath.functions import Functions

    count, waiting = 0, [(root, 1, False)]
    while waiting:
        node, depth, may_be_expression = waiting.pop()
        count += 1
        if count > limits.TRANSFORM_NODES or depth > limits.TRANSFORM_DEPTH:
            yield f"has more than {limits.TRANSFORM_NODES} parts, or more than {limits.TRANSFORM_DEPTH} levels of them"
            return
        kind, name = node["type"], node.get("value")
        if kind == "expref" and not may_be_expression:
            yield f"& stands before an argument of {', '.join(sorted(_OF_EXPRESSIONS))} only"
        if kind == "function_expression":
            yield from _call_problems(str(name), len(node["children"]), Functions.FUNCTION_TABLE)
        if kind == "slice":
            if node["children"][2] == 0:
                yield "a slice has a step of 0"
            continue  # its children are numbers
        takes = kind == "function_expression" and name in _OF_EXPRESSIONS
        waiting.extend((child, depth + 1, takes) for child in node["children"])


def _call_problems(name: str, given: int, functions: Mapping[str, Any]) -> Iterator[str]:
    if name not in functions:
        yield f"{name[:_SHOWN]}() is not a function, one of {', '.join(sorted(functions))}"
        return
    signature = functions[name]["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if given != len(signature) and not (variadic and given > len(signature)):
        yield f"{name}() takes {len(signature)} argument{'' if len(signature) == 1 else 's'}, and not {given}"


def _in_words(error: Any) -> str:
    """A sentence about a fault of the syntax, with its place."""
    place = getattr(error, "lexer_position", None) or getattr(error, "lex_position", None) or 0
    token = getattr(error, "lexer_value", None) or getattr(error, "token_value", None)
    near = f": {str(token)[:_SHOWN]!r}" if token else ", its end"
    return f"is not a JMESPath expression, at character {place + 1}{near}"
