"""The rules use what the code declares, and every alert has a runbook whose commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from app.cli.main import NAMES, program
from monitoring import causes, objectives
from monitoring.files import FILES, RULES, RUNBOOKS
from monitoring.rule import Alert
from tests.monitoring.declared import problems, recordings
from tests.monitoring.firing import FIRING

ROOT = Path(__file__).parents[2]
ALERTS = [*objectives.alerts(), *causes.ALERTS]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("Hookstream*.md")}
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(hookstream [^`]+)`")
_SECTIONS = ["Symptom", "Impact", "First three commands", "Causes", "Remedy"]
_LABEL = re.compile(r"\$labels\.(\w+)")
each_page = pytest.mark.parametrize("name", sorted(PAGES))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_committed_file_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "run: make generate"


@pytest.mark.parametrize("rule", [*recordings(), *ALERTS], ids=lambda rule: rule.name)
def test_a_query_uses_what_the_code_declares(rule: Any) -> None:
    assert not list(problems(rule.expr))


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("rate(hookstream_attempts_totall[5m])", "no metric hookstream_attempts_totall"),
        ('hookstream_attempts_total{outcome="ok"}', "hookstream_attempts_total has no label outcome"),
        ('hookstream_attempts_total{result="okay"}', "result is never okay"),
        ("sum by (tenant) (hookstream_attempts_total)", "no series of the query has a label tenant"),
        ("summ(hookstream_attempts_total)", "no function summ"),
        ("hookstream_delivery_latency_seconds", "no metric hookstream_delivery_latency_seconds"),
        ('hookstream_delivery_latency_seconds_bucket{le="7.0"}', "hookstream_delivery_latency_seconds_bucket has no"),
    ],
)
def test_a_query_that_uses_anything_else_is_noticed(query: str, problem: str) -> None:
    assert [each for each in problems(query) if each.startswith(problem)]


@pytest.mark.parametrize("alert", causes.ALERTS, ids=lambda alert: alert.name)
def test_a_summary_shows_labels_that_the_alert_has(alert: Alert) -> None:
    for label in _LABEL.findall(alert.summary + alert.description):
        assert re.search(rf"\b{label}\b", alert.expr) or label == "instance", label


def test_each_alert_has_series_that_raise_it() -> None:
    assert {(each.alert, each.severity) for each in FIRING} == {(alert.name, alert.severity) for alert in ALERTS}


def test_alerts_and_runbooks_correspond() -> None:
    assert set(PAGES) == {alert.name for alert in ALERTS}


def test_each_runbook_url_leads_to_a_page_of_the_documentation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = f"{project['urls']['Documentation']}/"
    urls = _runbook_urls(yaml.safe_load(RULES.read_text(encoding="utf-8")))
    assert len(urls) == len(ALERTS)
    for name, url in urls:
        assert url.startswith(base) and base.startswith("https://"), url
        page = ROOT / "docs" / url.removeprefix(base)
        assert page.is_file() and page.stem == name, url


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("https://git.example.com/runbooks/", "https://git.example.com/runbooks/HookstreamAbsent.md"),
        ("https://wiki.example.com/?page={alert}&x=1", "https://wiki.example.com/?page=HookstreamAbsent&x=1"),
    ],
)
def test_the_rules_are_printed_with_runbooks_elsewhere(address: str, page: str) -> None:
    command = [sys.executable, "-m", "monitoring", "--runbooks", address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    urls = _runbook_urls(yaml.safe_load(done.stdout))
    assert len(urls) == len(ALERTS) and ("HookstreamAbsent", page) in urls


def _runbook_urls(rules: Any) -> list[tuple[str, str]]:
    each_rule = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    return [(rule["alert"], rule["annotations"]["runbook_url"]) for rule in each_rule]


@each_page
def test_a_runbook_has_its_parts(name: str) -> None:
    text = PAGES[name]
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _SECTIONS
    (block,) = _BLOCK.findall(text)
    assert len(block.splitlines()) == 3
    severities = text.partition("Severity:")[2].partition("\n")[0]
    assert all(alert.severity in severities for alert in ALERTS if alert.name == name)


@each_page
def test_the_commands_of_a_runbook_exist_with_their_options(name: str) -> None:
    (block,) = _BLOCK.findall(PAGES[name])
    lines = [line.partition("#")[0] for line in block.splitlines() if line.startswith("hookstream ")]
    assert lines, "at least one of the commands is ours"
    for line in [*lines, *_SPAN.findall(PAGES[name])]:
        words = shlex.split(line)[1:]
        command, path = _command(), "hookstream"
        while hasattr(command, "commands"):
            assert words and words[0] in command.commands, f"{path} has no command {words[:1]}"
            path, command = f"{path} {words[0]}", command.commands[words[0]]
            words = words[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in words if word.startswith("-") and word not in options]
        assert not unknown, f"{path} has no option {unknown}"


@cache
def _command() -> Any:
    return get_command(program(NAMES))
