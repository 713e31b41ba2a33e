"""`hookstream listen`: forward a tenant's events to a receiver on the developer's machine, signed like deliveries."""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args
from urllib.parse import urlsplit

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import completion, contexts_file
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.event_feed import follow_events
from app.cli.connect.listen_secret import listen_secret
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.inputs import WHY_FILE, pairs_of, secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, show_json
from app.core.model.endpoint_settings import SigningScheme

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient
    from app.adapters.http.forwarder import Forwarder, ForwardResult
    from app.api.contract.events import StreamedEvent
    from app.core.model.endpoint import Endpoint
    from app.core.model.http_exchange import HttpRequest
    from app.profiles.contract import SignMessage

#: events that wait for the receiver; beyond them the API's stream is not read
_WAITING = 100
#: in the queue of events: send the last one again
_RESEND = "resend"


@uses_api
def listen(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="The receiver, such as http://localhost:3000/hooks.")],
    types: Annotated[
        str | None,
        typer.Option(
            "--type", help="Only these event types, comma-separated: a.b, a.*", autocompletion=completion.event_patterns
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="Body and signature as endpoints of this profile get them.", autocompletion=completion.wire_formats
        ),
    ] = "standard",
    scheme: Annotated[
        str,
        typer.Option(
            "--signature-scheme",
            help="v1; or v1a, both, rfc9421 (Ed25519, with a key for this machine, tenant and mode).",
            autocompletion=list(get_args(SigningScheme)).copy,
        ),
    ] = "v1",
    header: Annotated[list[str] | None, typer.Option(help="Further header, 'Name: value'. Repeatable.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="Sign with this secret. Default: one for this machine, tenant and mode.")
    ] = None,
    secret_file: Annotated[str | None, typer.Option(help=f"File that holds the secret {WHY_FILE}.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many events.")] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Forward events to a URL on this machine as they are appended, signed as a delivery is. Ctrl-C ends it.

    No tunnel and no endpoint is needed: events are read through the API, and requests are sent from here. The body, the
    headers and the signature are those of an endpoint with the profile; duplicates are forwarded as well, because they
    are dropped later. r and Enter sends the last event again. A lost connection is renewed where it ended. One line for
    each request; with -o json one JSON object.

    Examples:
        hookstream listen --forward-to http://localhost:3000/hooks
        hookstream listen --forward-to http://localhost:3000/hooks --type 'user.*' --profile recall -o json
    """
    key = secret_of("secret", secret, secret_file)
    endpoint = _endpoint(forward_to, profile, scheme, pairs_of("header", header or [], ":"))
    where = address(tenant, mode)
    ask(where, lambda api: _listen(api, endpoint, types, key, limit, output))


async def _listen(
    api: ApiClient, endpoint: Endpoint, types: str | None, key: str | None, limit: int | None, output: OutputFormat
) -> None:
    from app.adapters.http.forwarder import Forwarder

    queue: asyncio.Queue[Any] = asyncio.Queue(_WAITING)
    feeding = asyncio.create_task(_feed(api, types, queue))
    stop_watching = _watch_keys(lambda: _put_if_room(queue, _RESEND))
    try:
        async with Forwarder(SystemClock()) as forwarder:
            await _forward(queue, forwarder, _Signer(endpoint, key), limit, output)
    finally:
        stop_watching()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(api: ApiClient, types: str | None, queue: asyncio.Queue[Any]) -> None:
    """Put the stream's messages into the queue, and in the end the exception that ended it."""

    def lost(reason: str, wait_s: float) -> None:
        print(f"{reason.splitlines()[0]} Connecting again in {wait_s:.0f} s.", file=sys.stderr)

    try:
        async with aclosing(follow_events(api, types, lost)) as messages:
            async for message in messages:
                await queue.put(message)
    except Exception as error:
        await queue.put(error)


async def _forward(
    queue: asyncio.Queue[Any], forwarder: Forwarder, signer: _Signer, limit: int | None, output: OutputFormat
) -> None:
    import msgspec

    from app.api.contract.events import StreamedEvent

    decoder = msgspec.json.Decoder(StreamedEvent)
    last: StreamedEvent | None = None
    attempt = count = 0
    while limit is None or count < limit:
        item = await queue.get()
        if isinstance(item, Exception):
            raise item
        if item == _RESEND:
            if last is None:
                print("There is no event to send again.", file=sys.stderr)
                continue
            attempt += 1
        elif item.event == "event":
            last, attempt, count = decoder.decode(item.data), 1, count + 1
        else:
            _show_state(item.event, msgspec.json.decode(item.data), signer)
            continue
        assert last is not None, "set by the first event"
        request = signer.request(last, attempt)
        _show_request(last, attempt, await forwarder.send(request), output)


class _Signer:
    """Builds the requests of an endpoint of the profile."""

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        self.endpoint = endpoint
        self.is_ready = False
        self.public_key = ""
        self._clock = SystemClock()
        self._key = key

    def ready(self, tenant: str, mode: str) -> str:
        """Sign with the given secret, or with that of the tenant and mode. Returns it."""
        from app.profiles.requests import RequestBuilder

        secret = self._key or listen_secret(contexts_file.default_path(os.environ).parent, tenant, mode)
        self._builder = RequestBuilder(lambda sealed, owner: secret, 1.0, lambda sealed, owner: self._sign_v1a(secret))
        self._builder.prepared(self.endpoint, self._clock.now_ms())  # a secret that does not fit is refused at once
        self.is_ready = True
        return secret

    def _sign_v1a(self, secret: str) -> SignMessage:
        """Sign with a key derived from the secret, so that it is the same on every start."""
        from app.adapters.secrets import ed25519

        private = ed25519.private_key_from(hmac.digest(secret.encode(), b"v1a", "sha256"))
        self.public_key = ed25519.public_of(private)
        return ed25519.signer_of(private)

    def request(self, event: StreamedEvent, attempt: int) -> HttpRequest:
        """The request of an attempt, signed now."""
        from app.core.model.delivery import Delivery

        now_ms = self._clock.now_ms()
        delivery = Delivery(
            id="",
            endpoint_id=self.endpoint.id,
            event_id=event.id,
            event_type=event.type,
            tenant="",
            mode="live",
            created_at=event.created_at,
            body=b'{"data":%b}' % bytes(event.data),
            attempts=attempt - 1,
            ordering_key=event.ordering_key,
            traceparent=event.traceparent,
        )
        return self._builder.request(delivery, self.endpoint, self._builder.prepared(self.endpoint, now_ms), now_ms)


def _endpoint(url: str, profile: str, scheme: str, headers: dict[str, str]) -> Endpoint:
    """An endpoint that exists here only. Raises typer's `BadParameter`."""
    from app.core.model.endpoint import Endpoint, SealedSecret, SigningKey
    from app.core.model.endpoint_settings import RULES
    from app.profiles.catalog import PROFILES
    from app.profiles.secrets import scheme_problem

    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits:
        raise typer.BadParameter("--forward-to: an address such as http://localhost:3000/hooks")
    if profile not in PROFILES:
        raise typer.BadParameter(f"--profile: one of {', '.join(PROFILES)}")
    if scheme not in get_args(SigningScheme):
        raise typer.BadParameter(f"--signature-scheme: one of {', '.join(get_args(SigningScheme))}")
    problem = scheme_problem(cast(Any, scheme), PROFILES[profile])
    if problem is not None:
        raise typer.BadParameter(f"--signature-scheme: {problem}")
    problems = list(RULES["headers"](headers))
    if problems:
        raise typer.BadParameter(f"--header: {'; '.join(problems)}")
    secret = SealedSecret(key_id="", blob="", created_at_ms=0)
    return Endpoint(
        id="ep_listen",
        tenant="",
        mode="live",
        url=url,
        events=("*",),
        profile=profile,
        headers=headers,
        secrets=(secret,),
        signature_scheme=cast(Any, scheme),
        signing_keys=(SigningKey(key_id="", blob="", created_at_ms=0, public=""),) if scheme != "v1" else (),
    )


def _show_state(name: str, state: dict[str, str], signer: _Signer) -> None:
    if name == "gap":
        print(f"Events are left out: {state['detail']}.", file=sys.stderr)
    elif name == "ready" and not signer.is_ready:
        secret = signer.ready(state["tenant"], state["mode"])
        public = f"Public key: {signer.public_key}\n" if signer.public_key else ""
        print(
            f"Events of {state['tenant']} ({state['mode']}) go to {signer.endpoint.url}, as those of the profile "
            f"{signer.endpoint.profile}.\nSigning secret: {secret}\n{public}"
            "r and Enter sends the last event again, Ctrl-C ends.",
            file=sys.stderr,
            flush=True,
        )


def _show_request(event: StreamedEvent, attempt: int, result: ForwardResult, output: OutputFormat) -> None:
    from app.core.model.timestamps import iso

    at = iso(SystemClock().now_ms())
    if output is OutputFormat.json:
        show_json(
            {
                "at": at,
                "event": event.id,
                "type": event.type,
                "attempt": attempt,
                "status": result.status,
                "error": result.error,
                "duration_ms": result.duration_ms,
            }
        )
        sys.stdout.flush()
        return
    again = f" (attempt {attempt})" if attempt > 1 else ""
    outcome = result.status if result.status is not None else result.error
    print(
        f"{at[:19].replace('T', ' ')} {event.type} {event.id} → {outcome}{again}, {result.duration_ms:.0f} ms",
        flush=True,
    )


def _watch_keys(on_resend: Callable[[], None]) -> Callable[[], None]:
    """Call `on_resend` for each line with an r on standard input. Returns what ends that."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return lambda: None

    def read() -> None:
        typed = os.read(descriptor, 1024)
        if not typed:
            loop.remove_reader(descriptor)
        elif b"r" in typed.lower():
            on_resend()

    try:
        loop.add_reader(descriptor, read)
    except (OSError, ValueError):  # a file, which is never waited for
        return lambda: None

    def stop() -> None:
        loop.remove_reader(descriptor)

    return stop


def _put_if_room(queue: asyncio.Queue[Any], item: str) -> None:
    if not queue.full():
        queue.put_nowait(item)
