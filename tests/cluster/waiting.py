"""Waiting for what comes true soon, however busy the machine is."""

import time


def until(condition, limit_s=30.0):
    """What condition() returns once that is true."""
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "in vain"
        time.sleep(0.01)
    return found


def explained(split):
    """What explain() says once the caller has the scheduler's plan: it is told 50 ms later."""

    def agreed():
        found = split.explain()
        return found if found.running.plan == split.plan else None

    return until(agreed)
