import json
import threading
from collections import OrderedDict

from webhook_signature import verify


class Inbox:
    """Verifies requests, drops duplicates, and detects gaps and late events per ordering key."""

    def __init__(self, secret, remember=100_000):
        self._secret = secret
        self._remember = remember
        self._seen = OrderedDict()  # event ids; in production a table with a unique key
        self._last = {}  # ordering key -> the highest sequence so far; in production a row of the same database
        self._lock = threading.Lock()

    def receive(self, headers, body, handle):
        """Returns the status to answer. `headers` has lower-case names; `body` is the raw bytes."""
        if not verify(headers, body, self._secret):
            return 401
        event_id = headers["webhook-id"]
        key, number = headers.get("webhook-ordering-key"), headers.get("webhook-sequence")
        sequence = int(number) if key is not None and number is not None else None
        with self._lock:
            if event_id in self._seen:
                return 200
            handle(json.loads(body), self._judge(key, sequence))  # if it raises, nothing is stored: answer 500
            self._seen[event_id] = True
            if len(self._seen) > self._remember:
                self._seen.popitem(last=False)
            if sequence is not None:
                self._last[key] = max(sequence, self._last.get(key, 0))
        return 200

    def _judge(self, key, sequence):
        if sequence is None:
            return "without order"
        last = self._last.get(key)
        if last is None or sequence == last + 1:
            return "in order"
        if sequence > last:
            return f"gap of {sequence - last - 1}"
        return "late"
