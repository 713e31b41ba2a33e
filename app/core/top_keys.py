"""The keys of a stream that weigh most, in memory that does not depend on the number of keys."""

from __future__ import annotations

from heapq import nlargest
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
#: counters for each key that is wanted: what makes the choice exact enough
_COUNTERS = 16
_FORGOTTEN = 0.5
#: how much more a key has to weigh to displace another one, so that two alike do not take turns
_MARGIN = 2.0


class TopKeys(Generic[_Key]):
    """At most `number` keys, of those that weigh most.

    The weights are a Misra-Gries summary: a key with more than one part in `16 * number` of the recent weight has a
    counter, however many other keys there are.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._keys: set[_Key] = set()
        self._weights: dict[_Key, float] = {}

    def add(self, key: _Key, weight: float) -> bool:
        """Count a weight. Returns whether the key is one of the chosen ones; the first `number` keys are at once."""
        self._weights[key] = self._weights.get(key, 0.0) + weight
        if len(self._weights) > 2 * _COUNTERS * self._number:
            self._shrink()
        if len(self._keys) < self._number:
            self._keys.add(key)
        return key in self._keys

    def review(self) -> set[_Key]:
        """Let heavier keys displace lighter ones, and older weights count half. Returns the keys that have left."""
        weight = self._weights
        challengers = nlargest(self._number, weight.keys() - self._keys, key=weight.__getitem__)
        lightest = sorted(self._keys, key=lambda key: weight.get(key, 0.0))
        left: set[_Key] = set()
        for challenger, key in zip(challengers, lightest, strict=False):
            if weight[challenger] <= _MARGIN * weight.get(key, 0.0):
                break
            left.add(key)
            self._keys.add(challenger)
        self._keys -= left
        self._weights = {key: value / 2 for key, value in weight.items() if value / 2 >= _FORGOTTEN}
        return left

    def _shrink(self) -> None:
        """Subtract the weight of the heaviest key that does not fit from all, and drop those without a rest."""
        fitting = _COUNTERS * self._number
        surplus = nlargest(fitting + 1, self._weights.values())[-1]
        self._weights = {key: value - surplus for key, value in self._weights.items() if value > surplus}
