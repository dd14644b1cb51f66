"""Which of the requests that wait go into one run now. Pure functions of the queue.

Rules: the first of the queue is in it. Nobody waits for others to come. Whoever would keep its
deadline if each ran alone keeps it, in the run or behind it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from edgesplit.core.batch_times import MARGIN, BatchTimes


@dataclass(frozen=True)
class Queued:
    """A request in a tier's queue.

    key: of those with one key several may share a run: program, payload's form, range, runtime.
    alone_s: seconds of its own run. deadline_s: on the clock of now_s; one that has passed when its
    turn comes is refused, which takes no time.
    """

    key: Hashable
    alone_s: float
    deadline_s: float


def together(queue: Sequence[Queued], now_s: float, times: BatchTimes) -> tuple[int, ...]:
    """Places in the queue of those that run now; the first alone where no more can, or gain.

    queue: in the order in which they would run alone, at least one. times: of the first one's key.
    Of all numbers of requests that break no rule, the one with the least seconds per request.
    Those of one key take equally long alone, so that taking them in the queue's order hurts least.
    """
    alike = _alike(queue, now_s)
    if times.best(len(alike)) == 1:
        return (0,)
    kept = _kept(queue, now_s)
    # More than the best number too: what breaks a rule for two may break none for three.
    largest = min(len(alike), times.largest)
    sizes = [size for size in range(2, largest + 1) if times.pays(size)]
    for size in sorted(sizes, key=lambda size: (times.seconds(size) / size, size)):
        members = alike[:size]
        if kept <= _kept_with(queue, now_s, members, times.seconds(size)):
            return members
    return (0,)


@dataclass(frozen=True)
class Rest:
    """The end of the first one's range, for which others wait: they can join it there.

    places: theirs in the queue, ascending. first_s: of the layers before, run for the first one.
    times: of the end, for several at once.
    """

    places: tuple[int, ...]
    first_s: float
    times: BatchTimes


def joining(queue: Sequence[Queued], now_s: float, rest: Rest) -> tuple[int, ...]:
    """Places of those that run the rest together with the first one, once it is there.

    Empty where it had better run its range as a whole: where both together would take less than
    MARGIN less than the first one alone and the others behind it, or somebody would be late.
    """
    places = [at for at in rest.places if queue[at].deadline_s >= now_s]
    kept = _kept(queue, now_s)
    for others in range(min(len(places), rest.times.largest - 1), 0, -1):
        run_s = rest.first_s + rest.times.seconds(others + 1)
        apart_s = queue[0].alone_s + rest.times.total_s(others)
        members = (0, *places[:others])
        gains = run_s < (1 - MARGIN) * apart_s
        if gains and kept <= _kept_with(queue, now_s, members, run_s):
            return members[1:]
    return ()


def _alike(queue: Sequence[Queued], now_s: float) -> tuple[int, ...]:
    """Places of the first one and of those that could share its run."""
    rest = range(1, len(queue))
    key = queue[0].key
    return (0, *(at for at in rest if queue[at].key == key and queue[at].deadline_s >= now_s))


def _kept(queue: Sequence[Queued], now_s: float, but: Sequence[int] = ()) -> set[int]:
    """Places of those that end in time, one after another from now_s on; without `but`."""
    kept, end_s = set[int](), now_s
    for at, waiting in enumerate(queue):
        if at in but or waiting.deadline_s < end_s:
            continue
        end_s += waiting.alone_s
        if end_s <= waiting.deadline_s:
            kept.add(at)
    return kept


def _kept_with(
    queue: Sequence[Queued], now_s: float, members: Sequence[int], run_s: float
) -> set[int]:
    """Those that end in time where `members` share a run of run_s, and the others follow."""
    end_s = now_s + run_s
    in_run = {at for at in members if end_s <= queue[at].deadline_s}
    return in_run | _kept(queue, end_s, members)
