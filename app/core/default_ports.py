"""The ports that settings, commands and documents use unless another one is set."""

from __future__ import annotations

from typing import Final

#: the management API and the dashboard
API: Final = 8080
#: /healthz, /readyz and /metrics of `hookstream run`
METRICS: Final = 9400
#: `hookstream receiver`
RECEIVER: Final = 9000
#: a Kafka broker, also that of compose.yaml
KAFKA: Final = 9092
POSTGRESQL: Final = 5432

#: all of them, by name
DEFAULT_PORTS = {
    "api": API,
    "metrics": METRICS,
    "receiver": RECEIVER,
    "kafka": KAFKA,
    "postgresql": POSTGRESQL,
}
