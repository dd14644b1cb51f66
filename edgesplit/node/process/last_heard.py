"""When each session was last heard of, by a process that gives up those that are silent."""

import time


class LastHeard:
    """By name. What passes while this process is away itself counts against nobody.

    silent_s: how long a name may be silent. every_s: between two looks.

    Example:
        >>> heard = LastHeard(silent_s=30.0, every_s=5.0)
        >>> heard.of("cam")
        >>> heard.look()
        >>> heard.is_silent("cam")
        False
    """

    def __init__(self, silent_s: float, every_s: float) -> None:
        self._silent_s, self._every_s = silent_s, every_s
        self._heard_s: dict[str, float] = {}
        self._looked_s = float("inf")  # nobody has looked yet

    def of(self, name: str, grace_s: float = 0.0) -> None:
        """It is there now. grace_s: seconds more that it may be silent from now."""
        self._heard_s[name] = time.monotonic() + grace_s

    def forget(self, name: str) -> None:
        """It has ended; nothing where it is not known."""
        self._heard_s.pop(name, None)

    def look(self) -> None:
        """Every every_s, from the beginning: before is_silent() is asked."""
        now_s = time.monotonic()
        if now_s - self._looked_s - self._every_s > self._silent_s / 3:  # away
            for name, heard_s in list(self._heard_s.items()):
                self._heard_s[name] = max(heard_s, now_s)
        self._looked_s = now_s

    def is_silent(self, name: str) -> bool:
        """Whether nobody has spoken of it for too long; a name that is not known is not."""
        now_s = time.monotonic()
        return now_s - self._heard_s.get(name, now_s) > self._silent_s
