"""Code that verifies a profile's requests, for receivers in seven languages.

The code is in the text files beside this module: `listed.<suffix>.txt` for Standard Webhooks and Svix, and
`hex.<suffix>.txt` for one hex signature of the body; `ed25519.<suffix>.txt` is for v1a, in Python and Node. A file is a
complete program text; only its placeholders (`__FAMILY__`, `__HEADER__`, `__PREFIX__`, `__UNSIGNED__`) depend on the
profile.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from app.profiles.contract import Profile
from app.profiles.signatures import HexSignature, ListedSignatures, base64_key, text_key

_HERE = Path(__file__).parent
#: the concatenation that puts the prefix before the hex digits, in any of the languages
_PREFIXED = re.compile(r"""(["'])__PREFIX__\1 [+.] """)
#: the line of a comment for endpoints that may have no secret
_UNSIGNED_LINE = re.compile(r"^(.*)__UNSIGNED__(.*\n)", re.MULTILINE)
_UNSIGNED = "An endpoint without a secret receives unsigned requests; they do not verify."


class Snippet(NamedTuple):
    """A file with a function that verifies a request, and a comment that shows its use in a web framework."""

    #: python, node, go, java, php, ruby, csharp; python-v1a, node-v1a
    language: str
    #: of the language, for people
    title: str
    file_name: str
    code: str


class _Language(NamedTuple):
    name: str
    title: str
    file_name: str


_LANGUAGES = (
    _Language("python", "Python", "webhook_signature.py"),
    _Language("node", "Node.js", "webhook-signature.js"),
    _Language("go", "Go", "webhook_signature.go"),
    _Language("java", "Java", "WebhookSignature.java"),
    _Language("php", "PHP", "webhook_signature.php"),
    _Language("ruby", "Ruby", "webhook_signature.rb"),
    _Language("csharp", "C#", "WebhookSignature.cs"),
)

_V1A_LANGUAGES = (
    _Language("python-v1a", "Python, v1a", "webhook_signature.py"),
    _Language("node-v1a", "Node.js, v1a", "webhook-signature.js"),
)


def snippets(profile: Profile) -> tuple[Snippet, ...]:
    """One snippet for each language; none where the profile's signature or key is of its own kind."""
    scheme = profile.headers
    if isinstance(scheme, ListedSignatures) and profile.key is base64_key:
        return tuple(_snippet(each, _listed(_template("listed", each), scheme)) for each in _LANGUAGES)
    if isinstance(scheme, HexSignature) and profile.key is text_key:
        return tuple(_snippet(each, _hex(_template("hex", each), scheme)) for each in _LANGUAGES)
    return ()


def v1a_snippets(profile: Profile) -> tuple[Snippet, ...]:
    """Code that verifies v1a with public keys; none where the profile's signature has no room for it."""
    scheme = profile.headers
    if not isinstance(scheme, ListedSignatures):
        return ()
    return tuple(_snippet(each, _listed(_template("ed25519", each), scheme)) for each in _V1A_LANGUAGES)


def _snippet(language: _Language, code: str) -> Snippet:
    return Snippet(language.name, language.title, language.file_name, code)


def _listed(template: str, scheme: ListedSignatures) -> str:
    return template.replace("__FAMILY__", scheme.family)


def _hex(template: str, scheme: HexSignature) -> str:
    unsigned = rf"\1{_UNSIGNED}\2" if scheme.optional else ""
    code = _UNSIGNED_LINE.sub(unsigned, template).replace("__HEADER__", scheme.header.lower())
    return code.replace("__PREFIX__", scheme.prefix) if scheme.prefix else _PREFIXED.sub("", code)


@cache
def _template(scheme: str, language: _Language) -> str:
    suffix = language.file_name.rpartition(".")[2]
    return (_HERE / f"{scheme}.{suffix}.txt").read_text(encoding="utf-8")
