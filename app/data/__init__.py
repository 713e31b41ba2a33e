"""The topic declarations and the schemas of events, packaged with the code: links to the folders of the repository."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
#: YAML files, one for each group of topics
TOPICS = _HERE / "topics"
#: JSON files, `<profile>/<event type>.json`
EVENT_TYPES = _HERE / "schemas" / "events"
#: the AsyncAPI document, which the API serves
ASYNCAPI = _HERE / "schemas" / "asyncapi.yaml"
