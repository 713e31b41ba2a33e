"""The only file that constructs aiokafka clients, and Faust's broker URLs and credentials.

Every consumer reads committed records only, because any application may write to Hookstream's topics in a transaction
and abort it. The end of a log is therefore its last stable offset: for lag, for catching up and for replays.
The one exception only asks for end offsets: see `CompactedTopicReader.catch_up_after_reply`.
Transaction markers occupy an offset but are not records; see `BatchTrack`, `OffsetWatermark` and
`OpenPartitions.read_to`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from app.adapters.clock import SystemClock
from app.adapters.kafka.connection_problems import explanations
from app.adapters.kafka.connections import use_broker_connections
from app.adapters.kafka.credentials import KafkaCredentials
from app.adapters.kafka.tls_files import TlsFiles
from app.core.errors import Unavailable
from app.core.kafka_connection import KafkaConnection
from app.core.rights import hidden_topics

#: aiokafka's clients in annotations; all other files may not import the classes, so that none can construct one
AioConsumer: TypeAlias = AIOKafkaConsumer
AioProducer: TypeAlias = AIOKafkaProducer
AioAdmin: TypeAlias = AIOKafkaAdminClient
AioClient: TypeAlias = AIOKafkaClient

#: also of Faust's consumer
ISOLATION_LEVEL = "read_committed"
#: milliseconds after which a consumer that nothing happens to looks for partitions to fetch, also in Faust's; what
#: happens to it wakes it at once
CONSUMER_TIMEOUT_MS = 1_000

#: Kafka's errors for rights that a user lacks
MISSING_RIGHTS = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    ClusterAuthorizationFailedError,
)

use_broker_connections()


class KafkaClients:
    """Constructs clients for one Kafka cluster; none of them is started."""

    def __init__(self, connection: KafkaConnection, *, connect_s: float | None = None) -> None:
        """`connect_s`: seconds after which `connecting` gives up; None: aiokafka's own timeouts, up to 40 s each.

        Raises `ConfigError` when the certificate files cannot be used.
        """
        self.connection = connection
        self._connect_s = connect_s
        self._tls = TlsFiles(connection) if connection.encrypted else None
        self._credentials = KafkaCredentials(connection, SystemClock())

    def consumer(self, client_id: str, *, group: str | None = None, **fetch: Any) -> AioConsumer:
        """A consumer of committed records, without auto-commit. `fetch` has further options of aiokafka."""
        return AIOKafkaConsumer(
            client_id=client_id,
            group_id=group,
            enable_auto_commit=False,
            consumer_timeout_ms=CONSUMER_TIMEOUT_MS,
            **{"isolation_level": ISOLATION_LEVEL, "auto_offset_reset": "earliest"}
            | self._connection_options()
            | fetch,
        )

    def producer(
        self, client_id: str, *, transactional_id: str | None = None, linger_ms: int = 0, **options: Any
    ) -> AioProducer:
        """A producer that waits for all in-sync replicas; idempotent, or transactional with a `transactional_id`."""
        return AIOKafkaProducer(
            client_id=client_id,
            transactional_id=transactional_id,
            linger_ms=linger_ms,
            acks="all",
            enable_idempotence=True,
            **self._connection_options() | options,
        )

    def admin(self, client_id: str) -> AioAdmin:
        """An administrator's client."""
        return AIOKafkaAdminClient(client_id=client_id, **self._connection_options())

    def metadata_client(self, client_id: str) -> AioClient:
        """A client that only asks for metadata; start it with `bootstrap()`."""
        return AIOKafkaClient(client_id=client_id, **self._connection_options())

    def faust_broker(self) -> Mapping[str, Any]:
        """The options of a Faust app that name the brokers and the credentials."""
        options: dict[str, Any] = {"broker": [f"kafka://{server}" for server in self.connection.bootstrap.split(",")]}
        credentials = self._credentials.faust(self._tls)
        return options | ({"broker_credentials": credentials} if credentials is not None else {})

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Turn aiokafka's errors into `Unavailable`, with the remedy."""
        with explanations() as explained:
            try:
                yield
            except KafkaError as error:
                raise self._failed(error, *explained) from error

    @asynccontextmanager
    async def connecting(self) -> AsyncIterator[None]:
        """As `reachable`; also raises `Unavailable` when the body takes longer than `connect_s`."""
        with explanations() as explained:
            try:
                async with asyncio.timeout(self._connect_s):
                    yield
            except KafkaError as error:
                raise self._failed(error, *explained) from error
            except TimeoutError as error:
                limit = f" within {self._connect_s:g} s" if self._connect_s is not None else ""
                raise self._unavailable(f"no answer{limit}; is it Kafka that listens there?", *explained) from error

    @property
    def user(self) -> str:
        """Whose rights Kafka checks: the user of SASL, the subject of the certificate, or `ANONYMOUS`."""
        if self.connection.authenticated:
            return self.connection.username or self.connection.oauth_client_id or "SUBJECT-OF-THE-TOKEN"
        return (self._tls and self._tls.subject()) or "ANONYMOUS"

    def trouble(self, reason: str, *explained: str) -> str:
        """A sentence about a failure: the explanation of its connections if there is one, else the `reason`."""
        at = f"Kafka at {self.connection.bootstrap}"
        return f"{at} cannot be used: {explained[0]}" if explained else f"{at} does not answer ({reason})"

    def missing_right(self, error: BaseException) -> str | None:
        """A sentence for an error that a missing right has caused; None for any other error."""
        if not isinstance(error, MISSING_RIGHTS):
            return None
        user = f" to user {self.connection.username}" if self.connection.username else ""
        return (
            f"Kafka at {self.connection.bootstrap} refuses a request for missing rights ({type(error).__name__}: "
            f"{error}): grant{user} what `hookstream topics export --format acls` prints for the role"
        )

    def hidden(self, topics: Collection[str]) -> str:
        """A sentence for topics that Kafka does not show to our user."""
        return f"Kafka at {self.connection.bootstrap} does not show all topics: {hidden_topics(self.user, topics)}"

    def _failed(self, error: KafkaError, *explained: str) -> Unavailable:
        sentence = self.missing_right(error)
        if sentence is not None:
            return Unavailable(sentence)
        return self._unavailable(f"{type(error).__name__}: {error}", *explained)

    def _unavailable(self, reason: str, *explained: str) -> Unavailable:
        sentence = self.trouble(reason, *explained)
        if explained:
            return Unavailable(sentence)
        return Unavailable(
            f"{sentence}.\n"
            "Start it, or set HOOKSTREAM_BOOTSTRAP_SERVERS to another one; `hookstream up` starts its own."
        )

    def _connection_options(self) -> dict[str, Any]:
        connection = self.connection
        options: dict[str, Any] = {
            "bootstrap_servers": connection.bootstrap,
            "security_protocol": connection.security.upper(),
        }
        if self._tls is not None:
            options["ssl_context"] = self._tls
        return options | self._credentials.aiokafka()


class Replaced(KafkaError):
    """A batch failed because its producer was replaced after the failure of another batch."""


async def stop_producer(producer: AioProducer) -> None:
    """Send the waiting batches, for three seconds at most; those that remain fail with `Replaced`."""
    task = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait([task], timeout=3)
    if not done:  # it still waits for batches that it cannot send
        task.cancel()
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        await asyncio.gather(task, producer.client.close(), return_exceptions=True)
        # Callers that await one of its batches would otherwise wait forever.
        producer._message_accumulator.fail_all(Replaced("the producer was replaced"))
    await asyncio.gather(task, return_exceptions=True)
