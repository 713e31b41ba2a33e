"""Build the notifier role."""

from __future__ import annotations

from collections.abc import Callable

from app.adapters.mail.renderer import TemplateRenderer
from app.adapters.mail.smtp import SmtpMailer
from app.core import email
from app.core.topics.declarations import Topics
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer
from app.ports.dependencies import Dependency
from app.ports.metrics import Meter
from app.ports.producer import Producer
from app.ports.registry import DirectoryFeed
from app.ports.secrets import KeyRing
from app.roles.notifier.digest import EmailPace
from app.roles.notifier.role import NotifierRole
from app.settings import Settings


def notifier_role(
    settings: Settings,
    source: GroupConsumer,
    topics: Topics,
    log: Producer,
    feed: DirectoryFeed,
    keyring: KeyRing,
    clock: Clock,
    meter: Meter,
    base_url: Callable[[], str],
    status: Dependency,
) -> NotifierRole:
    """A fresh role. `base_url` says where people find the API."""

    def link(tenant: str, address: str) -> str:
        sealed = keyring.seal(address, email.unsubscribe_owner(tenant), clock.now_ms())
        return f"{base_url()}{email.UNSUBSCRIBE_PATH}?token={email.unsubscribe_token(tenant, sealed)}"

    mailer = None
    if settings.smtp_url is not None and settings.mail_from is not None:
        server = email.read_smtp_url(settings.smtp_url.reveal())
        mailer = SmtpMailer(server, settings.mail_from, clock, settings.ca_file, status)
    return NotifierRole(
        source=source,
        producer=log,
        feed=feed,
        mailer=mailer,
        writer=TemplateRenderer(),
        link=link,
        topics=topics,
        clock=clock,
        meter=meter,
        pace=EmailPace(digest_s=settings.notify_digest_seconds, cooldown_s=settings.notify_cooldown_seconds),
    )
