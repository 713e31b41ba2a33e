"""How much one slice of work may be, so that it holds the event loop for a few hundredths of a second, however fast
the machine is and whatever else it does.
"""

from __future__ import annotations

#: a slice that took longer makes the next ones smaller; one that took less than half of it, larger
_TARGET_S = 0.05
#: no slice is smaller: what each one costs by itself would outweigh it
_LEAST = 500


class SliceSize:
    """The number of outputs of the next slice. It starts low: the first slice is the one that is not measured yet."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.outputs = min(most, max(_LEAST, most // 4))

    def took(self, seconds: float) -> None:
        """A slice is planned and appended."""
        if seconds > _TARGET_S:
            self.outputs = min(self._most, max(_LEAST, self.outputs // 2))
        elif seconds < _TARGET_S / 2:
            self.outputs = min(self._most, self.outputs + self.outputs // 4 + 1)
