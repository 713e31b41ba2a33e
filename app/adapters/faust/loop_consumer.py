"""Faust's consumer on the event loop of its app, instead of a thread with a loop of its own.

Each poll and each commit crossed the border between the threads twice: by a queue, a wake-up and a task on each side.
At everyday rates a batch has one or two records, and that was a third of what fan-out cost. Nothing on the app's loop
runs longer than a part of a batch, so heartbeats are sent in time; the roles without Faust have relied on that, too.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from faust.transport.drivers import aiokafka as driver
from mode import Service


class LoopConsumer(driver.AIOKafkaConsumerThread):
    """`AIOKafkaConsumerThread` without its thread: a plain service of the app's loop."""

    abstract = False
    wait_for_shutdown = False

    def __init__(self, consumer: Any, *, loop: Any, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, beacon=beacon)

    async def start(self) -> None:
        """Connect to Kafka."""
        self._thread_started.set()
        await self._default_start()

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        if self._started.is_set():
            await Service.stop(self)

    async def on_stop(self) -> None:
        """See `mode.Service.on_stop`."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def crash(self, reason: BaseException) -> None:
        """See `mode.Service.crash`."""
        await Service.crash(self, reason)

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The result of `fun`, which a thread would have to be asked for."""
        result = fun(*args, **kwargs)
        return await result if isawaitable(result) else result

    def _get_tasks(self) -> Any:
        """None: the tasks of the class keep a thread's loop awake."""
        return ()

    def _stopped_set(self) -> None:
        self._stopped.set()

    def set_shutdown(self) -> None:
        """See `mode.Service.set_shutdown`."""
        self._shutdown.set()

    async def _stop_children(self) -> None:
        await self._default_stop_children()

    async def _stop_futures(self) -> None:
        await self._default_stop_futures()

    async def _stop_exit_stacks(self) -> None:
        await self._default_stop_exit_stacks()
