"""Weights that arrive in parts: kept, gone on with, compared, and taken whole or not at all."""

import errno
import os
import threading
import time

import numpy as np
import pytest
from arriving import PART_BYTES, described, fetch, largest, layouts, part
from split_law import same_bits

from edgesplit.errors import WireError
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.shipping import unpack
from edgesplit.node.program.store import ProgramStore
from edgesplit.node.program.weight_file import write_weight_file


@pytest.fixture(params=["disk", "memory"])
def make(request, tmp_path):
    """Makes HostPrograms as another process of the same host has them."""
    folder = tmp_path / "cache"
    if request.param == "memory":
        folder.write_text("in the way")
    return lambda: HostPrograms(ProgramStore(folder))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def host(folder):
    return lambda: HostPrograms(ProgramStore(folder))


def taken(programs, program):
    """Its weights, once it has been taken."""
    assert programs.take(program.description) == program.name
    return list(unpack(programs.use(program.name)).weights)


def weights(program):
    return list(unpack(program.packed).weights)


def test_a_part_is_the_files_bytes(tmp_path):
    program = described()
    for file, layout in layouts(program).items():
        whole = {name: program.packed.by_name[name] for name in layout.spans}
        write_weight_file(tmp_path / file, whole)
        data = (tmp_path / file).read_bytes()
        assert len(data) == layout.n_bytes
        for start, stop in ((0, 10), (0, len(data)), (7, 1000), (len(data) - 3, len(data))):
            assert part(program, file, start, stop - start).tobytes() == data[start:stop]


def test_what_arrives_in_parts_is_taken(make):
    program, programs = described(), make()
    assert not programs.has(program.description).is_whole
    assert fetch(programs, program) == sum(one.n_bytes for one in layouts(program).values())
    assert same_bits(taken(programs, program), weights(program))
    assert programs.has(program.description).is_whole
    assert all(storage.ctypes.data % 64 == 0 for storage in programs.use(program.name).storages), (
        "kernels round by how their operands are aligned"
    )


def test_parts_whose_forerunners_do_not_come_are_not_kept_for_ever(make):
    program, programs = described(), make()
    file, n_bytes = largest(program), 1 << 14
    programs.has(program.description)
    for k in range(1, 17):
        assert programs.take_part(file, k * n_bytes, part(program, file, k * n_bytes, n_bytes)) == 0
    with pytest.raises(WireError, match="have not come"):
        programs.take_part(file, 17 * n_bytes, part(program, file, 17 * n_bytes, n_bytes))
    fetch(programs, program)
    assert same_bits(taken(programs, program), weights(program))


def test_parts_may_overtake_each_other(make):
    program, programs = described(), make()
    programs.has(program.description)
    for file, layout in layouts(program).items():
        for start in reversed(range(0, layout.n_bytes, PART_BYTES)):
            there = programs.take_part(file, start, part(program, file, start))
            assert there == (layout.n_bytes if start == 0 else 0)
    assert same_bits(taken(programs, program), weights(program))


def test_weights_that_two_programs_share_are_not_asked_for_again(make):
    programs, first, second = make(), described(0), described(1)
    fetch(programs, first)
    taken(programs, first)
    assert fetch(programs, second) < PART_BYTES
    assert same_bits(taken(programs, second), weights(second))


def test_a_transfer_that_broke_off_goes_on(host):
    program, file = described(), largest(described())
    fetch(host(), program, most_parts=3)
    again = host()  # another process: the one before was killed
    assert again.has(program.description).n_bytes[file] == 2 * PART_BYTES, "small ones come first"
    total = sum(one.n_bytes for one in layouts(program).values())
    assert fetch(again, program) < total - 2 * PART_BYTES
    assert same_bits(taken(again, program), weights(program))


def test_half_of_a_part_counts(host, folder):
    program, file = described(), largest(described())
    fetch(host(), program, most_parts=3)
    os.truncate(folder / "parts" / file, PART_BYTES + 5)
    again = host()
    fetch(again, program)
    assert same_bits(taken(again, program), weights(program))


def test_two_processes_go_on_with_each_others_parts(host):
    program, file = described(), largest(described())
    one, other = host(), host()
    for programs in (one, other):
        programs.has(program.description)
    assert one.take_part(file, 0, part(program, file, 0)) == PART_BYTES
    assert other.take_part(file, 0, part(program, file, 0)) == PART_BYTES, "it is there"
    two = PART_BYTES, part(program, file, PART_BYTES)
    assert other.take_part(file, *two) == 2 * PART_BYTES
    assert one.take_part(file, 0, part(program, file, 0)) == 2 * PART_BYTES
    fetch(one, program)
    assert same_bits(taken(one, program), weights(program))
    assert other.take_part(file, *two) == layouts(program)[file].n_bytes, "it is in the store"


def test_many_fetch_the_same_at_once(host, folder):
    program, errors, found = described(), [], []

    def fetch_once():
        programs = host()
        for _ in range(20):
            try:
                fetch(programs, program)
                return found.append(programs.take(program.description))
            except WireError:  # another one has just taken it: what is here is asked again
                continue
            except Exception as error:
                errors.append(error)
        return None

    threads = [threading.Thread(target=fetch_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found == [program.name] * 6
    assert same_bits(list(unpack(host().use(program.name)).weights), weights(program))
    assert ProgramStore(folder).kept.verify() == []
    assert list((folder / "parts").iterdir()) == []


def test_a_damaged_part_is_noticed_before_anybody_uses_it(make):
    program, programs = described(), make()
    file = largest(program)
    programs.has(program.description)
    whole = part(program, file, 0, 1 << 30)
    whole[PART_BYTES] ^= 1
    programs.take_part(file, 0, whole[: PART_BYTES * 2])
    with pytest.raises(WireError, match="damaged; send it again"):
        programs.take_part(file, PART_BYTES * 2, whole[PART_BYTES * 2 :])
    assert programs.has(program.description).n_bytes[file] == 0, "it begins again"
    fetch(programs, program)
    assert same_bits(taken(programs, program), weights(program))


def test_a_damaged_leftover_is_begun_again(host, folder):
    program, file = described(), largest(described())
    fetch(host(), program, most_parts=3)
    with (folder / "parts" / file).open("r+b") as left:  # as after a power failure
        left.seek(PART_BYTES)
        left.write(bytes(PART_BYTES))
    again = host()
    with pytest.raises(WireError, match="damaged"):
        fetch(again, program)
    fetch(again, program)
    assert same_bits(taken(again, program), weights(program))


def test_more_bytes_than_there_are_are_refused(make):
    program, programs = described(), make()
    file = largest(program)
    programs.has(program.description)
    whole = part(program, file, 0, 1 << 30)
    with pytest.raises(WireError):
        programs.take_part(file, 0, np.concatenate([whole, whole[:9]]))
    assert programs.has(program.description).n_bytes[file] == 0


def test_what_is_not_whole_is_not_taken(make):
    program, programs = described(), make()
    fetch(programs, program, most_parts=2)
    with pytest.raises(WireError, match="have not come"):
        programs.take(program.description)
    assert programs.use(program.name) is None


def test_what_nobody_asked_for_is_refused(make):
    program = described()
    with pytest.raises(WireError, match="ask what is here first"):
        make().take_part(largest(program), 0, part(program, largest(program), 0))


def test_a_host_gives_what_it_has(make):
    program, programs = described(), make()
    file = largest(program)
    fetch(programs, program, most_parts=2)
    for start, n_bytes in ((0, PART_BYTES), (11, 1000)):
        given = programs.give_part(file, start, start + n_bytes)
        assert np.array_equal(given, part(program, file, start, n_bytes))
    with pytest.raises(WireError, match="not here"):
        programs.give_part(file, 0, 2 * PART_BYTES + 1)
    fetch(programs, program)
    taken(programs, program)
    last = layouts(program)[file].n_bytes
    assert np.array_equal(programs.give_part(file, last - 5, last), part(program, file, last - 5))


def test_a_full_disk_is_said_once_and_leaves_nothing(host, folder, monkeypatch, caplog):
    program, programs = described(), host()
    fetch(programs, program, most_parts=2)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WireError, match="in memory from now on; ask what is here"):
        fetch(programs, program)
    fetch(programs, program)
    assert list((folder / "parts").iterdir()) == []
    assert same_bits(taken(programs, program), weights(program))
    assert caplog.text.count("stay in memory") == 1
    assert host().use(program.name) is None, "nothing is on the disk"


def test_a_program_that_does_not_fit_does_not_fill_the_disk(host, folder, monkeypatch):
    program, programs = described(), host()
    usage = type("Usage", (), {"free": 100_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(WireError, match="in memory from now on"):
        fetch(programs, program)
    fetch(programs, program)
    assert list((folder / "parts").iterdir()) == []
    assert same_bits(taken(programs, program), weights(program))


def test_what_nobody_goes_on_with_is_given_up(host, folder):
    first, second = described(0), described(1)
    fetch(host(), first, most_parts=2)
    stale = folder / "parts" / largest(first)
    old_s = time.time() - 25 * 3600
    os.utime(stale, (old_s, old_s))
    other = min(layouts(second), key=lambda file: layouts(second)[file].n_bytes)
    programs = host()
    programs.has(second.description)
    programs.take_part(other, 0, part(second, other, 0))
    assert not stale.exists()


def test_what_has_begun_to_come_goes_when_the_host_has_it_otherwise(host, folder):
    program = described()
    fetch(host(), program, most_parts=3)
    assert list((folder / "parts").iterdir())
    assert host().mapped(program.description, program.packed.by_name) is not None
    assert list((folder / "parts").iterdir()) == []


def test_leftovers_go_before_programs(folder):
    program, store = described(0), ProgramStore(folder, limit_bytes=2.6e6)
    store.put(program.description, program.packed.by_name)
    wide = described(1, 500)
    fetch(HostPrograms(ProgramStore(folder)), wide, most_parts=3)
    stale = folder / "parts" / largest(wide)
    old_s = time.time() - 3600
    os.utime(stale, (old_s, old_s))
    other = described(2, 400)
    programs = HostPrograms(ProgramStore(folder, limit_bytes=2.6e6))
    fetch(programs, other)
    taken(programs, other)
    assert not stale.exists()
    assert store.use(program.name) is not None


def test_processes_of_a_host_are_at_one_place(host, tmp_path):
    place = host().has(described().description).place
    assert host().has(described().description).place == place
    elsewhere = HostPrograms(ProgramStore(tmp_path / "elsewhere"))
    assert elsewhere.has(described().description).place != place


def test_what_is_in_memory_is_given_back(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    programs, one, two = HostPrograms(ProgramStore(tmp_path / "cache")), described(0), described(1)
    for program in (one, two):
        fetch(programs, program)
        taken(programs, program)
    file = largest(one)
    programs.done(one.name)
    assert programs.use(one.name) is None
    assert programs.has(two.description).n_bytes[file], "the other one needs it"
    programs.done(two.name)
    assert not any(programs.has(two.description).n_bytes.values())
