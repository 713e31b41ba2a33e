"""What goes wrong: each fault is a coroutine that hurts the cluster and mends it, or leaves it to `heal`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from random import Random

from tests.faults.cluster import BASE, Cluster
from tests.faults.door import at_the_door
from tests.faults.upstream import transactional_producers

Fault = Callable[[Cluster, Random], Awaitable[None]]

#: the roles whose processes are killed and restarted
ROLES = tuple("+".join(roles) for roles in BASE)


async def nothing(cluster: Cluster, dice: Random) -> None:
    """The control: a round without a fault."""


def killed(name: str) -> Fault:
    """kill -9 of one process, and a new one at once or a little later."""

    async def run(cluster: Cluster, dice: Random) -> None:
        await cluster.kill(name)
        await asyncio.sleep(dice.choice((0.0, 0.5, 2.0)))
        await cluster.begin(name)

    return run


def restarted(name: str) -> Fault:
    """SIGTERM to one process, and a new one."""

    async def run(cluster: Cluster, dice: Random) -> None:
        await cluster.end(name)
        await cluster.begin(name)

    return run


async def all_killed(cluster: Cluster, dice: Random) -> None:
    """kill -9 of every process at once."""
    await asyncio.gather(*(cluster.kill(name) for name in ROLES))
    await asyncio.gather(*(cluster.begin(name) for name in ROLES))


async def all_restarted(cluster: Cluster, dice: Random) -> None:
    """A rolling restart, one process after the other."""
    for name in dice.sample(ROLES, len(ROLES)):
        await cluster.end(name)
        await cluster.begin(name)


async def upgraded(cluster: Cluster, dice: Random) -> None:
    """A rolling upgrade: one process after the other goes on with this release. Some of the old ones are killed."""
    for name in dice.sample(ROLES, len(ROLES)):
        if dice.random() < 0.3:
            await cluster.kill(name)
        else:
            await cluster.end(name)
        cluster.use_this_release(name)
        await cluster.begin(name)


async def rolled_back(cluster: Cluster, dice: Random) -> None:
    """The roles of delivery go back to the other release, and are upgraded again."""
    names = ("fanout", "dispatch", "sequencer", "delay")
    for name in dice.sample(names, len(names)):
        await cluster.end(name)
        cluster.use_other_release(name)
        await cluster.begin(name)
    await asyncio.sleep(dice.uniform(0, 2))
    for name in dice.sample(names, len(names)):
        await cluster.end(name)
        cluster.use_this_release(name)
        await cluster.begin(name)


async def releases_beside(cluster: Cluster, dice: Random) -> None:
    """A worker of the other release joins and shares the partitions; it, or ours, is killed."""
    await cluster.join("second", ready=False)
    cluster.use_other_release("second")
    await cluster.begin("second")
    await asyncio.sleep(dice.uniform(1, 3))
    victim = dice.choice(("second", "dispatch", "fanout", "sequencer", "delay"))
    await cluster.kill(victim)
    await cluster.begin(victim)
    await cluster.leave("second")


async def workers(cluster: Cluster, dice: Random) -> None:
    """Two more workers join, one at a time or together; then one of three leaves, in order or not, and the rest."""
    if dice.random() < 0.5:
        await cluster.join("second")
        await cluster.join("third")
    else:
        await asyncio.gather(cluster.join("second"), cluster.join("third"))
    await asyncio.sleep(dice.random())
    first = dice.choice(("fanout", "dispatch", "sequencer", "second"))
    if dice.random() < 0.5:
        await cluster.kill(first)
    else:
        await cluster.end(first)
    await asyncio.sleep(dice.random())
    if first != "second":
        await cluster.begin(first)
    if dice.random() < 0.5:
        await cluster.kill("third")
    await cluster.leave("third")
    await cluster.leave("second")


async def broker_killed(cluster: Cluster, dice: Random) -> None:
    """kill -9 of the broker, back at once."""
    await cluster.kill_broker()
    await cluster.restart_broker()


async def broker_restarted(cluster: Cluster, dice: Random) -> None:
    """SIGTERM to the broker, back at once: group coordinators and transactions move."""
    await cluster.restart_broker()


async def broker_away(cluster: Cluster, dice: Random) -> None:
    """The broker is away for a minute."""
    await cluster.kill_broker()
    await asyncio.sleep(60)
    await cluster.restart_broker()


async def broker_frozen(cluster: Cluster, dice: Random) -> None:
    """The broker says nothing for some seconds, with all connections open."""
    cluster.signal_broker(signal.SIGSTOP)
    try:
        await asyncio.sleep(dice.uniform(2, 8))
    finally:
        cluster.signal_broker(signal.SIGCONT)


async def broker_slow(cluster: Cluster, dice: Random) -> None:
    """Every exchange with the broker takes long."""
    cluster.proxy.delay_s = dice.uniform(0.05, 0.4)
    try:
        await asyncio.sleep(5)
    finally:
        cluster.proxy.delay_s = 0.0


async def disk_full(cluster: Cluster, dice: Random) -> None:
    """The broker cannot write: it halts, and is started again when there is room."""
    cluster.fill_disk()
    await asyncio.sleep(dice.uniform(2, 4))
    await cluster.restart_broker()


async def network_cut(cluster: Cluster, dice: Random) -> None:
    """All connections to the broker are reset, several times."""
    for _ in range(dice.randint(1, 6)):
        cluster.proxy.cut()
        await asyncio.sleep(dice.uniform(0.1, 1.0))


async def network_gone(cluster: Cluster, dice: Random) -> None:
    """Nothing passes for longer than a group session lasts; then the connections are reset, or go on."""
    cluster.proxy.connected.clear()
    try:
        await asyncio.sleep(dice.uniform(1, 9))
    finally:
        if dice.random() < 0.5:
            cluster.proxy.cut()
        cluster.proxy.connected.set()


async def worker_frozen(cluster: Cluster, dice: Random) -> None:
    """A process stands still for longer than its session lasts, and then goes on as if nothing had been (a zombie)."""
    name = dice.choice(("fanout", "dispatch", "sequencer", "delay", "registry"))
    await cluster.join("second")
    process = cluster.processes[name]
    try:
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(dice.uniform(4, 7))
    finally:
        process.signal(signal.SIGCONT)
    await process.until_ready(120)
    await cluster.leave("second")


async def slow_receivers(cluster: Cluster, dice: Random) -> None:
    """A second worker joins, and both and the rest are restarted in turn, while requests take seconds (guests.py)."""
    await cluster.join("second")
    for name in dice.sample(["dispatch", "second", "sequencer", "fanout", "delay"], 5):
        await cluster.end(name)
        await cluster.begin(name)
    await cluster.leave("second")


async def strangers(cluster: Cluster, dice: Random) -> None:
    """Who has no key opens connections to the API and says nothing, half of something, or much in a few bytes."""
    await at_the_door(cluster.api.api_url, dice)


#: these hurt no process: what is sent again has no excuse
HARMLESS = frozenset(("nothing", "names that do not resolve", "hostile receiver", "wide fan-out", "strangers"))
#: nothing is killed, frozen or cut in these: no delivery has a reason for two runs
ORDERLY = HARMLESS | {"slow receivers", "restart dispatch", "transactional producers"}
#: name → fault; a round draws from these with equal chances
FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    **{f"kill {name}": killed(name) for name in ROLES},
    **{f"restart {name}": restarted(name) for name in ROLES},
    "kill all": all_killed,
    "rolling restart": all_restarted,
    "three workers": workers,
    "frozen worker": worker_frozen,
    "broker killed": broker_killed,
    "broker restarted": broker_restarted,
    "broker frozen": broker_frozen,
    "broker slow": broker_slow,
    "disk full": disk_full,
    "network cut": network_cut,
    "network gone": network_gone,
    "transactional producers": transactional_producers,
    "slow receivers": slow_receivers,
    **dict.fromkeys(("names that do not resolve", "hostile receiver", "wide fan-out"), nothing),  # see guests.py
    "strangers": strangers,
}
#: takes a minute: drawn for one round in `RARELY`
RARE: dict[str, Fault] = {"broker away 60 s": broker_away}
RARELY = 25
#: need another release (`--beside`); the first round is the upgrade, the others are drawn from the rest
UPGRADE = "upgrade"
RELEASES: dict[str, Fault] = {UPGRADE: upgraded, "rollback": rolled_back, "two releases": releases_beside}
