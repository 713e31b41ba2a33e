"""NOTES.txt: what helm prints after an installation names what was installed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.helm.chart import CHART, render


def notes(folder: Path, example: str, *values: str) -> str:
    """The notes; helm prints them at an installation alone, so that a copy of the chart renders them as a resource."""
    copy = folder / "chart"
    if not copy.exists():
        shutil.copytree(CHART, copy)
        templates = copy / "templates"
        text = (templates / "NOTES.txt").read_text(encoding="utf-8")
        (templates / "_notes.tpl").write_text(f'{{{{- define "notes" -}}}}\n{text}{{{{- end }}}}\n', encoding="utf-8")
        resource = 'kind: Notes\nmetadata: {name: notes}\ntext: |\n  {{- include "notes" . | nindent 2 }}\n'
        (templates / "notes.yaml").write_text(resource, encoding="utf-8")
    return str(render(example, *values, chart=copy).of_kind("Notes")["notes"]["text"])


def test_commands_name_the_service_and_the_secret_that_were_installed(tmp_path: Path) -> None:
    text = notes(tmp_path, "dev")
    rendered = render("dev")
    (forwarded,) = re.findall(r"svc/(\S+) 8080:(\d+)", text)
    service = rendered.of_kind("Service")[forwarded[0]]
    assert [str(each["port"]) for each in service["spec"]["ports"]] == [forwarded[1]]
    (read,) = re.findall(r"get secret (\S+) -o jsonpath='\{\.data\.(\S+)\}'", text)
    assert read[1] in rendered.of_kind("Secret")[read[0]]["stringData"]


def test_a_dot_in_the_name_of_a_key_is_escaped(tmp_path: Path) -> None:
    assert r"{.data.admin\.token}" in notes(tmp_path, "dev", "secret.keys.adminToken=admin.token")


def test_warnings_are_of_what_is_open(tmp_path: Path) -> None:
    trial, locked = notes(tmp_path, "dev"), notes(tmp_path, "locked-down")
    assert "https://hooks.example.com" in locked
    warnings = ("networkPolicy.enabled is false", "name your own: secret.existing", "port-forward")
    assert all(each in trial for each in warnings) and not any(each in locked for each in warnings)
