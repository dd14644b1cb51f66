"""One device of the fleet on the testbed: holds a session on its host, sends when it is told to.

    python -m experiments.fleet.device MODEL SEED

A line of JSON comes in, a line of JSON goes out. `warm`: start all that is slow to start. `open`:
open the session and get a first answer. `send`: requests at a rate, whether answers come or not.
`flood`: as many under way as map() keeps. The end of the input ends it.
"""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgesplit import Config, EdgeSplit, Goal
from edgesplit.caller.inputs.zoo import load_model
from edgesplit.errors import EdgeSplitError
from experiments.fleet.sending import due_times
from experiments.shared.small_net import small_net

TIMEOUT_S = 10.0
_SLOW_START_S = 600.0  # a fifth of a core measures a whole model
_FLOOD_TIMEOUT_S = 50.0  # many wait for each other
_SENDERS, _FLOOD = 48, 8  # requests of a device that may be under way
_LATER_S = 1e-6  # than the last record
_CLOCKS_S = 0.01  # by which the time of a record and of its sending may differ
_SELFISH = Goal(load=0.0, temperature=0.0, memory=0.0)


@dataclass
class DueRequest:
    """A request. All times by time.time(), which hosts of one machine share."""

    due_s: float
    sent_s: float = 0.0
    done_s: float = 0.0
    error: str = ""


class Sessions:
    """The session of this device, and the one that it takes the place of."""

    def __init__(self, name: str, seed: int) -> None:
        self._model = load_model(name, "random")
        self._x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(seed))
        self._held = ExitStack()

    def close(self) -> None:
        """End the session."""
        self._held.close()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What is asked for."""
        match asked.pop("do"):
            case "warm":
                return self._warm()
            case "open":
                return self._open()
            case "send":
                return self._send(**asked)
            case "flood":
                return self._flood(**asked)
            case other:
                raise EdgeSplitError(f"cannot {other}")

    def _warm(self) -> dict[str, Any]:
        """Have actors, programs and imports there; a session of a small net keeps Ray joined.

        One of the same model would have the slowed session take its layer times over.
        """
        with EdgeSplit(self._model, _SELFISH, config=_config()) as split:
            split.infer(self._x)
            split.records()
            other = self._held.enter_context(EdgeSplit(small_net(), config=_config()))
            other.infer(torch.zeros(1, 3, 32, 32))
        return {}

    def _open(self) -> dict[str, Any]:
        """What a lone device knows and would do."""
        before, self._held = self._held, ExitStack()
        self._split = self._held.enter_context(EdgeSplit(self._model, _SELFISH, config=_config()))
        self._split.infer(self._x)
        before.close()  # afterwards, so that this process stays in its Ray cluster
        sent_s = time.time()
        self._split.infer(self._x)
        record = self._split.last_record
        assert record is not None, "a request came back"
        self._began_s = sent_s - record.at_s
        found, reference = self._split.explain(), self._split.profile.score_reference
        assert reference is not None, "a session fixes it at its first input"
        tiers = found.profile.tiers
        return {
            "best": str(found.chosen.plan),
            "layers": len(self._split.graph),
            "whole_s": {tier.name: sum(tier.layer_s) * tier.slowdown for tier in tiers},
            "reference": {
                "end_energy_j": reference.end_energy_j,
                "total_energy_j": reference.total_energy_j,
                "latency_s": reference.latency_s,
            },
            "explained": str(found),
        }

    def _send(
        self,
        at_s: float,
        seconds: float,
        rate_per_s: float,
        seed: int | None,
        plan: str | None,
        load: float,
    ) -> dict[str, Any]:
        """Send at that rate from at_s on; plan: fixed; None: EdgeSplit's, under weight `load`."""
        self._split.set_goal(Goal(load=load) if load else _SELFISH)
        generator = None if seed is None else np.random.default_rng(seed)
        all_sent = [DueRequest(at_s + due_s) for due_s in due_times(rate_per_s, seconds, generator)]
        after_s, switches = self._mark()
        with ThreadPoolExecutor(_SENDERS) as pool:
            for sent in all_sent:
                time.sleep(max(0.0, sent.due_s - time.time()))
                pool.submit(self._infer, sent, plan)
        changes = [
            {"plan": str(chosen), "why": why} for _, chosen, why in self._split.switches[switches:]
        ]
        return {"requests": self._rows(all_sent, after_s, at_s), "switches": changes}

    def _infer(self, sent: DueRequest, plan: str | None) -> None:
        sent.sent_s = time.time()
        try:
            if plan is None:
                self._split.infer(self._x)
            else:
                self._split.infer_on(plan, self._x)
        except EdgeSplitError as error:
            sent.error = f"{type(error).__name__}: {error}"[:200]
        sent.done_s = time.time()

    def _flood(self, at_s: float, seconds: float, plan: str) -> dict[str, Any]:
        """As many as map() keeps under way, from at_s on."""
        all_sent: list[DueRequest] = []
        after_s, _ = self._mark()

        def inputs() -> Iterator[torch.Tensor]:
            while (now_s := time.time()) < at_s + seconds:
                all_sent.append(DueRequest(now_s, now_s))
                yield self._x

        time.sleep(max(0.0, at_s - time.time()))
        try:
            for number, _ in enumerate(self._split.map(inputs(), plan, _FLOOD_TIMEOUT_S)):
                all_sent[number].done_s = time.time()
        except EdgeSplitError as error:  # the flood is over; what it has computed counts
            for sent in all_sent:
                if not sent.done_s:
                    sent.done_s, sent.error = time.time(), f"{error}"[:200]
        return {"requests": self._rows(all_sent, after_s, at_s), "switches": []}

    def _mark(self) -> tuple[float, int]:
        last = self._split.last_record
        assert last is not None, "the session has had its first answer"
        return last.at_s + _LATER_S, len(self._split.switches)

    def _rows(
        self, all_sent: list[DueRequest], after_s: float, at_s: float
    ) -> list[dict[str, Any]]:
        """One per request; seconds since at_s. Records have no place for who sent them.

        So each answered request has the record that was sent next after it.
        """
        frame = self._split.records(after_s).sort_values("at_s")
        records = deque(frame.to_dict("records"))
        rows = [_row(sent, at_s) for sent in all_sent]
        for sent, row in sorted(zip(all_sent, rows, strict=True), key=lambda two: two[0].sent_s):
            while records and records[0]["at_s"] + self._began_s < sent.sent_s - _CLOCKS_S:
                records.popleft()
            if records and not sent.error:
                row.update(_recorded(records.popleft()))
        return [row for row in rows if row["error"] or row["plan"]]


def _recorded(record: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a record: its plan, joules, and the seconds that each tier computed."""
    kept = {name: record[name] for name in ("plan", "end_energy_j", "total_energy_j")}
    by_tier = {
        name.removesuffix("_compute_s"): seconds
        for name, seconds in record.items()
        if name.endswith("_compute_s") and seconds > 0
    }
    return kept | {"compute_s": by_tier}


def _config() -> Config:
    """One thread per tier, plans as they are, and time to start."""
    return Config(
        threads=1,
        runtimes=("torch",),
        fallback="none",
        timeout_s=TIMEOUT_S,
        start_timeout_s=_SLOW_START_S,
        in_flight=_FLOOD,
    )


def _row(sent: DueRequest, at_s: float) -> dict[str, Any]:
    return {
        "due_s": sent.due_s - at_s,
        "done_s": sent.done_s - at_s,
        "latency_s": sent.done_s - sent.due_s,
        "error": sent.error,
        "plan": None,
        "end_energy_j": None,
        "total_energy_j": None,
        "compute_s": {},
    }


def main() -> None:
    """Serve until the input ends. Other output than answers goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    threading.stack_size(1 << 20)
    sessions = Sessions(sys.argv[1], int(sys.argv[2]))
    try:
        for line in sys.stdin:
            try:
                found = sessions.answer(json.loads(line))
            except EdgeSplitError as error:
                found = {"problem": f"{type(error).__name__}: {error}"}
            print(json.dumps(found), file=answers, flush=True)
    finally:
        sessions.close()


if __name__ == "__main__":
    main()
