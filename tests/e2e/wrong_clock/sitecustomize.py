"""For processes with this folder on their path: the machine's clock is five minutes ahead."""

from __future__ import annotations

import time

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + 300
time.time_ns = lambda: _time_ns() + 300_000_000_000
