"""Layer times kept beside a program: used by the next session after a look, else measured anew."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from edgesplit.core.layer_times import LayerTimes
from edgesplit.errors import InexactRuntimeError
from edgesplit.node.process.kept_file import write_kept
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.program.store import ProgramStore
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.tier.kept_profiles import FILES_KEPT, STALE_S, KeptProfiles
from edgesplit.node.tier.opening_profile import FRESH_S, OpeningProfile
from edgesplit.node.tier.tier_workload import TierWorkload

LAYER_S = (0.5, 0.25)
HOST = {"host": "one", "model": "a CPU", "torch": "2.13"}
LATER_S = 2 * FRESH_S
USUAL = Exactness()


@dataclass(eq=False)
class Engine:
    """Two layers that take what they take by the test's clock; counts what is asked of it."""

    seconds: float = sum(LAYER_S)
    measured: int = 0
    runs: int = 0
    now_s: float = 0.0
    has_eager: bool = True
    forms: Any = ((1,), (1,), (1,))

    def clock(self):
        return self.now_s

    def eager(self, start, stop):
        def run(values):
            self.runs += 1
            self.now_s += self.seconds
            return list(values)

        return run

    def profile(self, values, run_slot):
        self.measured += 1
        return tuple(s * self.seconds / sum(LAYER_S) for s in LAYER_S)


@dataclass(eq=False)
class Workload(TierWorkload):
    """Its runtime's figures are the test's, by what is found of it in turn."""

    found: list[Any] = field(default_factory=list)
    measured: int = 0
    looked: int = 0

    def measure_runtime(self, runtime, wanted, run_slot):
        self.measured += 1
        return self._next()

    def look_at(self, runtime, wanted, run_slot):
        self.looked += 1
        return self._next()

    def _next(self):
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def folder(tmp_path):
    """The program's own."""
    return tmp_path


def opened(folder, at_s=1e9, host=HOST, engine=None, form="", found=()):
    """A session's workload at that time of day."""
    kept = KeptProfiles(folder, form, host, lambda: at_s)
    engine = engine or Engine()
    workload = Workload("w", engine, PreparedCache(1e9, 4), kept=kept, found=list(found))
    return OpeningProfile(workload, unslotted, engine.clock)


def seconds_of(opening):
    return opening.torch([1]).times().layer_s


def test_a_later_session_looks_and_does_not_measure(folder):
    assert seconds_of(opened(folder)) == LAYER_S
    later = opened(folder, 1e9 + LATER_S)
    assert seconds_of(later) == pytest.approx(LAYER_S)
    engine = later.workload.engine
    assert engine.measured == 0
    assert 2 <= engine.runs <= 6
    assert later.workload.reference.shape.layer_s == pytest.approx(LAYER_S)


def test_what_was_looked_at_a_moment_ago_is_not_run_again(folder):
    """Three tiers on one machine measure once."""
    seconds_of(opened(folder))
    for _ in range(2):
        again = opened(folder, 1e9 + 1)
        assert seconds_of(again) == LAYER_S
        assert (again.workload.engine.measured, again.workload.engine.runs) == (0, 0)


def test_what_was_looked_at_counts_from_then(folder):
    seconds_of(opened(folder))
    seconds_of(opened(folder, 1e9 + LATER_S))
    again = opened(folder, 1e9 + LATER_S + 1)
    seconds_of(again)
    assert again.workload.engine.runs == 0


def test_a_look_within_a_quarter_corrects_the_sum(folder):
    seconds_of(opened(folder))
    later = opened(folder, 1e9 + LATER_S, engine=Engine(1.2 * sum(LAYER_S)))
    assert seconds_of(later) == pytest.approx([1.2 * s for s in LAYER_S])
    assert later.workload.engine.measured == 0


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_look_that_differs_has_it_measured_and_kept_anew(folder, factor):
    seconds_of(opened(folder))
    now_s = [factor * s for s in LAYER_S]
    later = opened(folder, 1e9 + LATER_S, engine=Engine(factor * sum(LAYER_S)))
    assert seconds_of(later) == pytest.approx(now_s)
    assert later.workload.engine.measured == 1
    third = opened(folder, 1e9 + 2 * LATER_S, engine=Engine(factor * sum(LAYER_S)))
    assert seconds_of(third) == pytest.approx(now_s)
    assert third.workload.engine.measured == 0


def test_slow_drift_is_measured_from_what_was_measured(folder):
    """Each look is near the one before, the last one far from the measurement."""
    seconds_of(opened(folder))
    measured = []
    for step in range(1, 4):
        engine = Engine(1.1**step * sum(LAYER_S))
        seconds_of(opened(folder, 1e9 + step * LATER_S, engine=engine))
        measured.append(engine.measured)
    assert measured == [0, 0, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"at_s": 1e9 + STALE_S},
        {"at_s": 1e9 - 1},  # a clock that was wrong then or is now
        {"host": {**HOST, "torch": "2.14"}},
        {"host": {**HOST, "model": "another CPU"}},
        {"host": {**HOST, "host": "other"}},
        {"form": "another size"},
    ],
)
def test_stale_and_foreign_ones_are_measured_again(folder, other):
    seconds_of(opened(folder))
    again = opened(folder, **{"at_s": 1e9 + 1, **other})
    seconds_of(again)
    assert again.workload.engine.measured == 1


def test_two_hosts_that_share_a_home_keep_their_own(folder):
    others = {**HOST, "host": "other", "model": "another CPU"}
    for host in (HOST, others):
        seconds_of(opened(folder, host=host))
    for host in (HOST, others):
        again = opened(folder, 1e9 + 1, host=host)
        seconds_of(again)
        assert again.workload.engine.measured == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b'"format":1', b'"format":2'),
        (b'"format":1', b'"format":1,"more":1'),
        (b"[0.5,0.25]", b"[0.5]"),
        (b"[0.5,0.25]", b"[0.5,-1]"),
        (b"[0.5,0.25]", b"[0.5,1e999]"),
        (b"[0.5,0.25]", b"[0.0,0.0]"),
        (b"[0.5,0.25]", b"[0.5,[]]"),
        (b'"whole_s":0.75', b'"whole_s":0'),
        (b'"error":null', b'"error":-1'),
        (b'"checked_s":1000000000.0', b'"checked_s":1e300'),
        (b'"runtime":"torch"', b'"runtime":"onnx"'),
    ],
)
def test_a_damaged_file_is_measured_again_and_replaced(folder, old, new):
    seconds_of(opened(folder))
    (file,) = (folder / "profiles").iterdir()
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new) if old else data[: len(data) // 2])
    for measured in (1, 0):
        again = opened(folder, 1e9 + 1)
        assert seconds_of(again) == LAYER_S
        assert again.workload.engine.measured == measured


def test_where_nothing_can_be_written_it_is_measured(folder):
    (folder / "profiles").write_text("in the way")
    assert seconds_of(opened(folder)) == LAYER_S
    assert seconds_of(opened(None)) == LAYER_S
    assert seconds_of(opened(folder / "given up")) == LAYER_S
    assert [path.name for path in folder.iterdir()] == ["profiles"]


def test_nothing_is_kept_where_others_may_write(tmp_path):
    store = ProgramStore(tmp_path)
    assert store.own_folder("p") == tmp_path / "programs" / "p"
    tmp_path.chmod(0o777)
    assert store.own_folder("p") is None


def test_sessions_that_write_at_once_never_leave_half_a_file(folder):
    times = opened(folder).torch([1])
    seen, over = [], threading.Event()

    def reads():
        while not over.is_set():
            seen.append(KeptProfiles(folder, "", HOST, lambda: 1e9).find("torch", 2))

    def writes():
        for _ in range(200):
            KeptProfiles(folder, "", HOST, lambda: 1e9).keep(times)

    reader = threading.Thread(target=reads)
    writers = [threading.Thread(target=writes) for _ in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert seen
    assert all(one == times for one in seen)
    assert len(list((folder / "profiles").iterdir())) == 1


def test_the_files_of_a_program_are_bounded(folder):
    for number in range(FILES_KEPT + 10):
        seconds_of(opened(folder, form=str(number)))
    assert len(list((folder / "profiles").iterdir())) == FILES_KEPT
    newest = opened(folder, 1e9 + 1, form=str(FILES_KEPT + 9))
    seconds_of(newest)
    assert newest.workload.engine.measured == 0


def test_when_it_was_measured_and_checked_is_told(folder):
    first = opened(folder).torch([1])
    assert first.times().provenance == "measured 2001-09-09 01:46 UTC"
    later = opened(folder, 1e9 + 3600).torch([1])
    told = "measured 2001-09-09 01:46 UTC, checked 2001-09-09 02:46 UTC"
    assert later.times().provenance == told


# Other runtimes

ONNX = LayerTimes("onnx", (0.01, 0.005), "measured", 1e-6)


def test_a_later_session_looks_at_a_runtime_too(folder):
    opened(folder, found=[ONNX]).runtime("onnx", USUAL)
    later = opened(folder, 1e9 + LATER_S, found=[(0.016, 2e-6)])
    times = later.runtime("onnx", USUAL).times(2.0)
    assert (later.workload.measured, later.workload.looked) == (0, 1)
    assert times.layer_s == pytest.approx([2 * 0.016 * s / 0.015 for s in ONNX.layer_s])
    assert times.error == 2e-6


def test_a_runtime_that_differs_is_looked_at_twice_then_measured(folder):
    opened(folder, found=[ONNX]).runtime("onnx", USUAL)
    slow = replace(ONNX, layer_s=(0.02, 0.01))
    later = opened(folder, 1e9 + LATER_S, found=[(0.03, 0.0), (0.031, 0.0), slow])
    assert later.runtime("onnx", USUAL).times().layer_s == slow.layer_s


def test_without_torch_a_runtime_is_compared_in_every_session(folder):
    opened(folder, found=[ONNX]).runtime("onnx", USUAL)
    again = opened(folder, 1e9 + 1, engine=Engine(has_eager=False), found=[(0.015, 1e-6)])
    again.runtime("onnx", USUAL)
    assert again.workload.looked == 1


def test_without_torch_no_verdict_is_kept_for_torch_is_another_hosts(folder):
    engine = Engine(has_eager=False)
    opened(folder, engine=engine, found=[ONNX]).runtime("onnx", USUAL)
    again = opened(folder, 1e9 + 1, engine=engine, found=[InexactRuntimeError("too far off")])
    with pytest.raises(InexactRuntimeError):
        again.runtime("onnx", USUAL)
    third = opened(folder, 1e9 + 2, engine=engine, found=[ONNX])
    assert third.refusal("onnx", USUAL) == ""
    third.runtime("onnx", USUAL)
    assert third.workload.measured == 1


@pytest.mark.parametrize("wanted", [Exactness(1e-3), Exactness(exact=True)])
def test_another_exactness_is_judged_anew(folder, wanted):
    opened(folder, found=[ONNX]).runtime("onnx", USUAL)
    again = opened(folder, 1e9 + 1, found=[ONNX])
    again.runtime("onnx", wanted)
    assert again.workload.measured == 1


def test_a_verdict_against_a_runtime_is_known_to_the_next_session(folder):
    first = opened(folder, found=[InexactRuntimeError("too far off")])
    assert first.refusal("onnx", USUAL) == ""
    with pytest.raises(InexactRuntimeError):
        first.runtime("onnx", USUAL)
    again = opened(folder, 1e9 + LATER_S, found=[ONNX])
    assert again.refusal("onnx", USUAL) == "too far off (measured 2001-09-09 01:46 UTC)"
    assert again.refusal("onnx", Exactness(1e-2)) == ""
    with pytest.raises(InexactRuntimeError, match="too far off"):
        again.runtime("onnx", USUAL)
    assert again.workload.measured == 0
    stale = opened(folder, 1e9 + STALE_S, found=[ONNX])
    assert stale.refusal("onnx", USUAL) == ""


def test_a_kept_runtime_that_is_wrong_on_this_sessions_example_is_refused(folder):
    opened(folder, found=[ONNX]).runtime("onnx", USUAL)
    later = opened(folder, 1e9 + LATER_S, found=[InexactRuntimeError("on the example")])
    with pytest.raises(InexactRuntimeError):
        later.runtime("onnx", USUAL)
    assert later.refusal("onnx", USUAL) == "on the example (measured 2001-09-09 01:47 UTC)"


def test_a_runtime_that_was_wrong_on_a_request_is_measured_by_the_next_session(folder):
    first = opened(folder, found=[ONNX])
    first.runtime("onnx", USUAL)
    first.workload.give_up("onnx", "was wrong")
    again = opened(folder, 1e9 + 1, found=[ONNX])
    again.runtime("onnx", USUAL)
    assert again.workload.measured == 1


def test_parts_of_killed_processes_do_not_pile_up(tmp_path):
    folder = tmp_path / "profiles"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.part").write_text("half")
    times = opened(None).torch([1])
    write_kept(folder / "whole", times, 4)
    assert len(list(folder.iterdir())) == 4
