"""The code for receivers verifies what third-party libraries sign, in Python and Node, for every profile."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import msgspec
import pytest

from app.profiles.catalog import PROFILES
from app.profiles.contract import HeaderPairs, Profile
from app.profiles.receiver_code.snippets import Snippet, snippets, v1a_snippets
from app.profiles.signatures import base64_key
from tests.receivers.verify_programs import TOOLCHAINS, wrong_answers
from tests.receivers.verify_requests import SignedRequest, requests_of, v1a_requests_of

#: a profile whose signature is of its own kind has no code
WITH_CODE = {name: profile for name, profile in PROFILES.items() if snippets(profile)}
each_profile = pytest.mark.parametrize("profile", WITH_CODE.values(), ids=WITH_CODE)
LANGUAGES = ("python", "node", "go", "java", "php", "ruby", "csharp")


def snippet(profile: Profile, language: str) -> Snippet:
    (only,) = (each for each in snippets(profile) if each.language == language)
    return only


@each_profile
@pytest.mark.parametrize("language", ["python", "node"])
def test_it_verifies_what_third_parties_sign(profile: Profile, language: str, tmp_path: Path) -> None:
    assert not TOOLCHAINS[language].missing, "scripts/bootstrap installs it"
    requests = requests_of(profile)
    assert {each.genuine for each in requests} == {True, False}
    assert wrong_answers(snippet(profile, language), requests, tmp_path) == {}


@pytest.mark.parametrize("name", ["standard", "recall"])
@pytest.mark.parametrize("language", ["python", "node"])
def test_v1a_is_verified_with_public_keys(name: str, language: str, tmp_path: Path) -> None:
    (code,) = (each for each in v1a_snippets(PROFILES[name]) if each.language == f"{language}-v1a")
    requests = v1a_requests_of(PROFILES[name])
    assert {each.genuine for each in requests} == {True, False}
    assert wrong_answers(code._replace(language=language), requests, tmp_path) == {}


@each_profile
def test_the_comment_for_flask_works(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    _flask_works(snippet(profile, "python"), "WEBHOOK_SECRET", requests_of(profile))


def test_the_comment_for_flask_works_with_v1a() -> None:
    python, _ = v1a_snippets(PROFILES["standard"])
    _flask_works(python, "WEBHOOK_PUBLIC_KEYS", v1a_requests_of(PROFILES["standard"]))


def _flask_works(python: Snippet, variable: str, requests: Sequence[SignedRequest]) -> None:
    code, _, comment = python.code.partition("# With Flask:\n")
    usage = "".join(line.removeprefix("#").removeprefix(" ") for line in comment.splitlines(keepends=True))
    app = flask.Flask("receiver")
    names: dict[str, Any] = {"app": app, "request": flask.request, "json": json}
    names["os"] = SimpleNamespace(environ=(environment := {variable: ""}))
    exec(code + usage, names)
    for each in filter(_fits_http, requests):
        environment[variable] = each.secret
        answer = app.test_client().post("/webhooks", data=each.body, headers=each.headers)
        assert (answer.status_code == 204) is each.genuine, each.case


def _fits_http(request: SignedRequest) -> bool:
    return request.body[:1] == b"{" and all(
        re.fullmatch("[!-~]([ -~]*[!-~])?", each) for each in request.headers.values()
    )


@each_profile
def test_every_language_has_a_complete_file(profile: Profile) -> None:
    assert tuple(each.language for each in snippets(profile)) == LANGUAGES == tuple(TOOLCHAINS)
    for each in (*snippets(profile), *v1a_snippets(profile)):
        assert "__" not in each.code, f"{each.title}: a placeholder was left"
        code, _, usage = each.code.rpartition("\n\n")
        assert 8 <= len(code.splitlines()) <= 40
        assert 6 <= len(usage.splitlines()) <= 10
        assert all(len(line) <= 120 for line in each.code.splitlines())
        assert ("An endpoint without a secret" in each.code) is not profile.secret_required


def test_the_profiles_of_the_products_have_code() -> None:
    assert WITH_CODE.keys() >= {"standard", "bota", "efficlose", "recall", "voxscriber"}


def test_files_and_titles_differ() -> None:
    each_of = snippets(PROFILES["standard"])
    assert len({each.file_name for each in each_of}) == len({each.title for each in each_of}) == len(LANGUAGES)


def test_a_signature_or_key_of_its_own_kind_has_none() -> None:
    def headers(body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        return (("x-own", "1"),)

    own = msgspec.structs.replace(PROFILES["standard"], headers=headers)
    assert snippets(own) == v1a_snippets(own) == v1a_snippets(PROFILES["bota"]) == ()
    assert snippets(msgspec.structs.replace(PROFILES["bota"], key=base64_key)) == ()
