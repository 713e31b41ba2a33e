"""`hookstream verify`: why the signature of a request fits or does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connect import process_context
from app.cli.terminal.inputs import WHY_FILE, bytes_of, secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, show_one
from app.core.errors import ConfigError
from app.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from app.profiles.verification import CandidateKey

#: of a request's headers and body together
_MOST_BYTES = 8 * 1024 * 1024
_MARKS = {"good": "✓", "warning": "!", "bad": "✗"}


def verify(
    request: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The request as received: headers, an empty line, the body (- = stdin)."),
    ],
    body: Annotated[
        str | None, typer.Option(help="File of the raw body; FILE then has only the headers, or a JSON object of them.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Whose signature the endpoint's requests have.")] = "standard",
    secret: Annotated[str | None, typer.Option(help="The endpoint's signing secret.")] = None,
    secret_file: Annotated[str | None, typer.Option(help=f"File that holds the secret {WHY_FILE}.")] = None,
    public_key: Annotated[
        list[str] | None, typer.Option(help="A public key of the endpoint, whpk_…, for v1a. Repeatable.")
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Check the signature of a request, and say which check fails and why.

    It needs neither Kafka nor the API. Exits with 1 if the signature is not valid.

    Examples:
        hookstream verify request.txt --secret-file endpoint.secret
        hookstream verify headers.txt --body body.json --profile recall --secret-file endpoint.secret
        hookstream verify request.txt --public-key whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
    """

    def work() -> int:
        from app.profiles.catalog import get
        from app.profiles.verification import CandidateSecret, read_headers
        from app.profiles.verification import verify as verification_of

        key = secret_of("secret", secret, secret_file)
        head, raw = _parts(request, body)
        secrets = [CandidateSecret(key, "the given secret")] if key is not None else []
        keys = [_candidate(each) for each in public_key or []]
        pasted = read_headers(head.decode(errors="replace"))
        answer = verification_of(get(profile), secrets, pasted, raw, time.time(), keys)
        if output is OutputFormat.json:
            findings = [{"level": each.level, "sentence": each.sentence} for each in answer.findings]
            show_one({"valid": answer.valid, "findings": findings}, output)
        else:
            print("The signature is valid." if answer.valid else "The signature is not valid.")
            for each in answer.findings:
                print(f"{_MARKS[each.level]} {each.sentence}")
        return ExitCode.DONE if answer.valid else ExitCode.FAILED

    process_context.guarded(work)


def _candidate(public: str) -> CandidateKey:
    """Raises `ConfigError` if it is no public key."""
    from app.adapters.secrets import ed25519
    from app.profiles.verification import CandidateKey

    ed25519.fits(public, b"", b"")  # raises if it is no public key
    return CandidateKey(
        lambda message, signatures: any(ed25519.fits(public, message, each) for each in signatures),
        f"the private half of {public}",
    )


def _parts(request: str, body: str | None) -> tuple[bytes, bytes]:
    """Headers and body; raises `ConfigError` when they are too large, or one of them is missing."""
    message = bytes_of(request)
    raw = bytes_of(body) if body is not None else None
    if len(message) + len(raw or b"") > _MOST_BYTES:
        raise ConfigError([f"{request}: a request has at most {_MOST_BYTES:,} bytes"])
    if raw is not None:
        return message, raw
    for end in (b"\r\n\r\n", b"\n\n"):
        head, separator, rest = message.partition(end)
        if separator:
            return head, rest
    raise ConfigError([f"{request}: no empty line between headers and body; or name the body's file with --body"])
