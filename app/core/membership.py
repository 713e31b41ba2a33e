"""Rules for the settings of a process's membership in consumer groups."""

from __future__ import annotations

import re

#: seconds for a stop and a start on a slow machine
RESTART_S = 20
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,200}")


def problems(instance_id: str | None, session_timeout: float, stop_seconds: float) -> list[str]:
    """The problems of these settings, each as the setting's name and a sentence."""
    sentences = []
    if not 1 <= session_timeout <= 1800:
        sentences.append("SESSION_TIMEOUT: 1 to 1800 seconds")
    if instance_id is not None and not _INSTANCE.fullmatch(instance_id):
        sentences.append("INSTANCE_ID: at most 200 letters, digits, '.', '_' and '-'")
    if instance_id is not None and session_timeout < RESTART_S:
        sentences.append(f"INSTANCE_ID: a restart has to fit into SESSION_TIMEOUT: at least {RESTART_S} seconds")
    if not 0 <= stop_seconds <= 600:
        sentences.append("STOP_SECONDS: 0 to 600")
    return sentences
