"""Where aiokafka's exceptions become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import KafkaError

from app.core.errors import Unavailable


@contextmanager
def reachable(bootstrap: str) -> Iterator[None]:
    """Turn a failure to talk to the broker into `Unavailable` with the way out."""
    try:
        yield
    except KafkaError as error:
        raise Unavailable(
            f"Kafka at {bootstrap} does not answer ({type(error).__name__}: {error}).\n"
            "Start it, or name another one with HOOKSTREAM_BOOTSTRAP_SERVERS; `hookstream up` starts one of its own."
        ) from error
