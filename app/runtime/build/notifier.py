"""Build the notifier role."""

from __future__ import annotations

from app.adapters.mail.renderer import TemplateRenderer
from app.adapters.mail.smtp import SmtpMailer
from app.core import email
from app.core.topics.names import TopicName
from app.roles.notifier.digest import EmailPace
from app.roles.notifier.role import NotifierRole
from app.runtime.build.shared import Shared


def notifier_role(shared: Shared) -> NotifierRole:
    """A new notifier role."""
    settings, keyring, clock = shared.settings, shared.keyring, shared.clock

    def link(tenant: str, address: str) -> str:
        base_url = settings.public_url or f"http://{shared.address.host}:{shared.address.port}"
        sealed = keyring.seal(address, email.unsubscribe_owner(tenant), clock.now_ms())
        return f"{base_url}{email.UNSUBSCRIBE_PATH}?token={email.unsubscribe_token(tenant, sealed)}"

    mailer = None
    if settings.smtp_url is not None and settings.mail_from is not None:
        server = email.read_smtp_url(settings.smtp_url.reveal())
        status = shared.dependencies.of("mail_server")
        mailer = SmtpMailer(server, settings.mail_from, clock, settings.ca_file, status)
    return NotifierRole(
        source=shared.source("notifier", [TopicName.NOTICES]),
        producer=shared.producer,
        feed=shared.feed,
        mailer=mailer,
        writer=TemplateRenderer(),
        link=link,
        topics=shared.topics,
        clock=clock,
        meter=shared.meter,
        pace=EmailPace(digest_s=settings.notify_digest_seconds, cooldown_s=settings.notify_cooldown_seconds),
    )
