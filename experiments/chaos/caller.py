"""The calling process of the fault matrix: runs on the host `end`, counts what it is told to.

    python -m experiments.chaos.caller POLICY SEED [close]

close: the session's requests may share runs with other sessions', so that answers may be off by
rounding; else they have to be the model's to the last bit.

A line of words comes in, a line of JSON goes out. `mark`: count from here. `look`: how it stands
now. `pause`, `go`: no new requests, and again. `first SIZE`: send a first input of that size, which
has to be exported, shipped and profiled before it is answered. `flood N`: so many requests more, at
once. `settle SECONDS`: pause, wait for
what is under way, tell what became of all since the mark, go on. The end of the input ends it.
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from edgesplit import Config, EdgeSplit, Goal
from experiments.chaos.load import inputs_of, is_calm
from experiments.chaos.senders import Senders
from experiments.shared.small_net import small_net
from experiments.shared.tally import Tally

CALLERS = 4
# So that `score` does not leave a net this small where it is.
END_ONLY = Goal(end_energy=1.0, total_energy=0.0, latency=0.0)
_LOOK_S = 0.1
_STALE_S = 1.0  # an older look says nothing: the scheduler does not answer
_END_S = 10.0
_LATER_S = 1e-6  # than the last record
_CLOSE = 1e-5  # of the largest element, as the tests demand of every export


@dataclass
class _Mark:
    """Where a row begins. at_s: since the session began."""

    tally: Tally = field(default_factory=Tally)
    at_s: float = 0.0
    switches: int = 1


class Station:
    """One session, its callers, and what is told of them."""

    def __init__(self, split: EdgeSplit, seed: int, tolerance: float) -> None:
        self._split, self._model = split, small_net()
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected = [self._model(y) for y in inputs_of(x)]
        split.infer(x)
        self._load = Senders(split, x, expected, CALLERS, tolerance)
        self._mark = _Mark()
        self._calm_s = -_STALE_S
        self._firsts: list[threading.Thread] = []  # of the row's, one or none
        self._first_s: float | None = None
        self._whole_s = self._measured_s(x)

    def start(self) -> None:
        """Begin to send and to look."""
        self._load.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """No new requests."""
        self._load.stop(_END_S)

    def answer(self, words: list[str]) -> dict[str, Any]:
        """What is asked for; {} for what only has to be done."""
        match words:
            case ["mark"]:
                self._set_mark()
            case ["look"]:
                return self._look()
            case ["pause"]:
                self._load.pause()
            case ["go"]:
                self._load.go()
            case ["first", size]:
                self._firsts = [threading.Thread(target=self._first, args=(int(size),))]
                self._firsts[0].start()
            case ["flood", count]:
                for _ in range(int(count)):
                    threading.Thread(target=self._load.send_first, daemon=True).start()
            case ["settle", seconds]:
                return self._settle(float(seconds))
            case _:
                return {"error": f"cannot {' '.join(words)}"}
        return {}

    def _set_mark(self) -> None:
        tally = self._load.tally
        tally.longest_wait_s, self._first_s = 0.0, None
        last = self._split.last_record
        self._mark = _Mark(
            replace(tally, requests=tally.requests - tally.lost, errors=tally.errors.copy()),
            last.at_s + _LATER_S if last is not None else 0.0,
            len(self._split.switches),
        )

    def _look(self) -> dict[str, Any]:
        return {
            "is_calm": time.monotonic() - self._calm_s < _STALE_S,
            "under_way": self._load.tally.lost,
            "switches": len(self._split.switches) - self._mark.switches,
            "is_first_under_way": any(thread.is_alive() for thread in self._firsts),
        }

    def _settle(self, limit_s: float) -> dict[str, Any]:
        self._load.pause()
        until_s = time.monotonic() + limit_s
        tally, mark = self._load.tally, self._mark
        while tally.lost and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        errors = tally.errors - mark.tally.errors
        records = self._split.records(mark.at_s)
        found = {
            "requests": tally.requests - mark.tally.requests,
            "right": tally.right - mark.tally.right,
            "by_fallback": int((records["why"] != "").sum()),
            "hedged": int((records["hedged"] != "").sum()),
            "errors": errors.total(),
            "lost": tally.lost,
            "wrong": tally.wrong - mark.tally.wrong,
            "worst": self._load.worst,
            "longest_wait_s": round(tally.longest_wait_s, 3),
            "bound_s": round(self._bound_s(), 3),
            "first_s": self._first_s,
            "error_texts": list(errors),
        }
        self._load.go()
        return found

    def _bound_s(self) -> float:
        """W_0 + R (1 + q) of docs/reliability.md, the largest of the plans in force since the mark.

        W_0 as EdgeSplit itself has it, by core/failover.py. q: all callers but one.
        """
        used = self._split._used()
        plans = [plan for _, plan, _ in self._split.switches][max(0, self._mark.switches - 1) :]
        waits_s = [used.along(plan).failover_after_s for plan in plans]
        return max([used.route.failover_after_s, *waits_s]) + self._whole_s * CALLERS

    def _measured_s(self, x: torch.Tensor) -> float:
        """R: the slowest of a few runs of the whole model in this process."""
        times_s = []
        for _ in range(5):
            began_s = time.perf_counter()
            with torch.no_grad():
                self._model(x)
            times_s.append(time.perf_counter() - began_s)
        return max(times_s)

    def _first(self, size: int) -> None:
        """A request as the others, but of a size not seen before; its wait has no stated bound."""
        x = torch.ones(1, 3, size, size)
        with torch.no_grad():
            expected = self._model(x)
        self._first_s = round(self._load.send(x, expected, is_bounded=False), 3)

    def _watch(self) -> None:
        """Keeps when all was last well; a scheduler that is away takes its time to say so."""
        while True:
            time.sleep(_LOOK_S)
            began_s = time.monotonic()
            if is_calm(self._split):
                self._calm_s = began_s


def main() -> None:
    """Serve until the input ends. Other output than answers goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    policy, seed = sys.argv[1], int(sys.argv[2])
    is_close = sys.argv[3:] == ["close"]
    torch.set_num_threads(1)  # as the tiers: with more, sums are taken in another order
    config = Config(threads=1, runtimes=("torch",), exact=not is_close)
    with EdgeSplit(small_net(), END_ONLY, policy, config=config) as split:
        station = Station(split, seed, _CLOSE if is_close else 0.0)
        station.start()
        print(json.dumps({"plan": str(split.plan)}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(station.answer(line.split())), file=answers, flush=True)
        station.stop()


if __name__ == "__main__":
    main()
