"""The store of programs: found by content, mapped, bounded, and never half of one."""

import fcntl
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import sample_models as samples
import torch
from safetensors.numpy import load_file
from split_law import same_bits
from torch import nn

from edgesplit.errors import ConfigError, WireError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.program_file import (
    decode_program,
    describe,
    encode_program,
    program_name,
)
from edgesplit.node.program.shipping import pack, unpack
from edgesplit.node.program.store import ProgramStore
from edgesplit.node.program.store_folder import require_own
from edgesplit.node.program.weight_file import check_weight_file, map_weight_file, storage_name

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def store(folder):
    return ProgramStore(folder)


def program(seed=0, wide=600):
    """A large weight (1.4 MB) that all seeds share, and small ones that differ."""
    torch.manual_seed(7)
    large = nn.Linear(wide, wide)
    torch.manual_seed(seed)
    model = nn.Sequential(large, nn.ReLU(), nn.Linear(wide, 3))
    return export(model.eval(), (torch.zeros(2, wide),)).program


def put(store, packed):
    storages = packed.by_name
    return store.put(encode_program(describe(packed)), storages)


def weights_of(folder):
    return {path.name: path for path in (folder / "weights").iterdir()}


def test_a_program_comes_back_bit_for_bit(store):
    for made in (export(samples.UNet().eval(), (torch.randn(1, 3, 16, 16),)).program, program()):
        packed = pack(made)
        mapped = store.use(put(store, packed))
        again = unpack(mapped)
        assert again.fingerprint == made.fingerprint
        assert same_bits(list(again.weights), list(made.weights))
        assert all(
            a.stride() == b.stride() for a, b in zip(again.weights, made.weights, strict=True)
        )


def test_tied_and_equal_storages_are_there_once(store, folder):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(600, 600, bias=False), nn.Linear(600, 600, bias=False)
            self.b.weight.data.copy_(self.a.weight.data)

        def forward(self, x):
            return self.b(self.a(x))

    made = export(Twice().eval(), (torch.randn(2, 600),)).program
    again = unpack(store.use(put(store, pack(made))))
    assert same_bits(list(again.weights), list(made.weights))
    assert len(weights_of(folder)) == 1


def test_files_are_safetensors_with_aligned_storages(store, folder):
    put(store, pack(program()))
    for path in weights_of(folder).values():
        ours, theirs = map_weight_file(path), load_file(path)
        assert all(np.array_equal(theirs[name], ours[name]) for name in ours)
        assert all(storage.ctypes.data % 64 == 0 for storage in ours.values())


def test_programs_share_the_files_of_weights_they_share(store, folder):
    names = {put(store, pack(program(seed))) for seed in (0, 1, 0)}
    assert len(names) == 2
    assert len(weights_of(folder)) == 3  # the large one once, and each program's small ones
    assert store.kept.n_bytes < 2.2 * 600 * 600 * 4


def test_what_is_mapped_is_the_files_memory(store):
    name = put(store, pack(program()))
    once, again = store.use(name), store.use(name)
    maps = Path("/proc/self/maps").read_text()
    assert maps.count("/weights/") >= 2
    before = once.storages[0].copy()
    again.storages[0][:] = 0  # a page of this process's own
    assert np.array_equal(once.storages[0], before)
    assert np.array_equal(store.use(name).storages[0], before)


def test_what_is_not_there_is_none(store, folder):
    assert store.use("0" * 32) is None
    assert not folder.exists(), "nothing is made by looking"
    assert store.kept.entries() == []
    assert store.kept.verify() == []


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "description", "no file"])
def test_what_is_damaged_is_dropped_and_can_be_put_again(store, folder, damage):
    name = put(store, pack(program()))
    path = max(weights_of(folder).values(), key=lambda path: path.stat().st_size)
    description = folder / "programs" / name / "program"
    match damage:
        case "cut":
            os.truncate(path, 100)
        case "changed":
            with path.open("r+b") as file:
                file.seek(5000)
                file.write(b"\xff\x00\xff")
        case "gone":
            path.unlink()
        case "description":
            description.write_bytes(description.read_bytes()[:-1] + b"\x01")
        case "no file":
            path.write_bytes(b"\xff" * 100)
    if damage == "changed":  # sizes are as they should be: only reading all of it tells
        assert len(store.kept.verify()) == 1
        assert store.kept.verify() == []
    assert store.use(name) is None
    assert put(store, pack(program())) == name
    assert same_bits(list(unpack(store.use(name)).weights), list(program().weights))


def test_what_was_used_longest_ago_is_given_up(folder):
    store = ProgramStore(folder, limit_bytes=7 * MIB)
    names = []
    for seed, wide in enumerate((600, 700, 800)):  # 1.4, 2.0 and 2.6 MB
        names.append(put(store, pack(program(seed, wide))))
        os.utime(folder / "programs" / names[-1] / "program", (seed, seed))
    assert {entry.name for entry in store.kept.entries()} == set(names)
    put(store, pack(program(9, 900)))
    left = {entry.name for entry in store.kept.entries()}
    assert names[0] not in left
    assert names[2] in left
    assert store.kept.n_bytes <= 7 * MIB
    needed = {file for n in left for file in decode_program(
        (folder / "programs" / n / "program").read_bytes()).file_names}  # fmt: skip
    assert set(weights_of(folder)) == needed


def test_what_is_in_use_is_never_given_up(folder):
    store, other = ProgramStore(folder, limit_bytes=3 * MIB), ProgramStore(folder)
    name = put(store, pack(program(0, 700)))
    mapped = other.use(name)
    put(store, pack(program(1, 800)))
    assert {entry.name: entry.is_used for entry in store.kept.entries()}[name]
    assert name in store.kept.clear()
    other.done(name)
    assert same_bits(list(unpack(mapped).weights), list(program(0, 700).weights))
    assert store.kept.clear() == []
    assert store.kept.entries() == []
    assert weights_of(folder) == {}


def test_a_killed_process_uses_nothing_any_more(folder, store):
    name = put(store, pack(program()))
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from edgesplit.node.program.store import ProgramStore\n"
        "assert ProgramStore(Path(sys.argv[1])).use(sys.argv[2]) is not None\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), name], check=False, timeout=120)
    assert store.kept.clear() == []


def test_several_put_the_same_at_once(folder):
    made, names, errors = pack(program()), [], []

    def put_once():
        try:
            names.append(put(ProgramStore(folder), made))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(names)) == 1
    assert ProgramStore(folder).kept.verify() == []
    assert list((folder / "parts").iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(store, folder, monkeypatch):
    def full(path, storages):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgesplit.node.program.store.write_weight_file", full)
    with pytest.raises(OSError, match="No space"):
        put(store, pack(program()))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("way", ["writable", "link", "file"])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, way):
    folder = tmp_path / "cache"
    match way:
        case "writable":
            folder.mkdir()
            folder.chmod(0o777)
        case "link":
            folder.symlink_to(tmp_path)
        case "file":
            folder.write_text("")
    with pytest.raises((ConfigError, OSError)):
        require_own(folder)
    with pytest.raises((ConfigError, OSError)):
        put(ProgramStore(folder), pack(program()))


def test_a_weight_outside_of_its_storage_is_no_program():
    packed = pack(program())
    far = replace(packed.forms[0], offset_bytes=1 << 40)
    with pytest.raises(WireError, match="outside"):
        unpack(replace(packed, forms=(far, *packed.forms[1:])))


def test_verify_reads_all_of_a_file(store, folder):
    put(store, pack(program()))
    for path in weights_of(folder).values():
        check_weight_file(path)
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
        with pytest.raises(WireError, match="damaged"):
            check_weight_file(path)


def test_after_a_start_of_the_machine_all_is_compared_once(store, folder, monkeypatch):
    """Its power may have failed before the disk had it: zeros of the right size."""
    name = put(store, pack(program()))
    whole = max(weights_of(folder).values(), key=lambda path: path.stat().st_size)
    data = whole.read_bytes()
    whole.write_bytes(data[:4096] + bytes(len(data) - 4096))
    assert store.use(name) is not None  # in the same boot nobody looks
    monkeypatch.setattr("edgesplit.node.program.store.boot", lambda: "the next one")
    assert store.use(name) is None
    assert put(store, pack(program())) == name
    assert store.use(name) is not None
    monkeypatch.setattr("edgesplit.node.program.store.boot", lambda: "one more")
    assert store.use(name) is not None, "what was found right once is not read again"
    assert not (folder / "programs" / name / "boot").exists()


def test_a_program_is_put_with_all_weights_or_not_at_all(store, folder):
    packed = pack(program())
    data, storages = encode_program(describe(packed)), packed.by_name
    first = next(iter(storages))
    for wrong in ({n: s for n, s in storages.items() if n != first},
                  storages | {first: storages[first] + 1}):  # fmt: skip
        with pytest.raises(WireError, match="has not come, or is damaged"):
            store.put(data, wrong)
    assert not list((folder / "programs").glob("*"))
    assert store.use(store.put(data, storages)) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: {"file_names": d.file_names[::-1]}, "called by what lies in it"),
        (lambda d: {"files": (0,) * len(d.files)}, "called by what lies in it"),
        (lambda d: {"storages": ((d.storages[0][0], -1), *d.storages[1:])}, "less than no bytes"),
        (lambda d: {"file_names": ("../../x", *d.file_names[1:])}, "no name of weights"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(store, change, said):
    """Else weights of one program could get the name of another one's."""
    described = describe(pack(program()))
    with pytest.raises(WireError, match=said):
        HostPrograms(store).has(
            encode_program(msgspec.structs.replace(described, **change(described)))
        )


def test_a_program_of_another_version_on_disk_is_fetched_again(store, folder):
    """Its description is what names it, so only a version that wrote it looks for it."""
    data = encode_program(describe(pack(program()))).replace(b"format\x01", b"format\x02")
    other = folder / "programs" / program_name(data) / "program"
    name = put(store, pack(program()))
    other.parent.mkdir()
    other.write_bytes(data)
    assert store.use(other.parent.name) is None
    assert not other.exists()
    assert store.use(name) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: b"\x81" + data[1:],
        lambda data: data.replace(b"format\x01", b"format\x02"),
    ],
)
def test_bytes_that_are_no_program_are_refused(store, damage):
    data = encode_program(describe(pack(program())))
    with pytest.raises(WireError, match=r"no program|format 2"):
        HostPrograms(store).has(damage(data))


def test_descriptors_are_given_back(store, folder):
    programs = HostPrograms(store)
    name = put(store, pack(program()))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert programs.use(name) is not None
    programs.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_others_may_have_put_there_is_not_used(store, folder):
    """It may have any weights under the right name: hashes are looked at when programs arrive."""
    packed = pack(program())
    name = put(store, packed)
    data, programs = encode_program(describe(packed)), HostPrograms(store)
    assert programs.has(data).is_whole
    folder.chmod(0o777)
    assert store.use(name) is None
    found = programs.has(data)
    assert not found.is_whole
    assert set(found.n_bytes.values()) == {0}
    assert programs.mapped(data, packed.by_name) is None, "in memory"
    folder.chmod(0o700)
    assert store.use(name) is not None


def test_a_disk_that_is_only_read_serves_what_it_has(store, folder, monkeypatch):
    name = put(store, pack(program()))

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("edgesplit.node.program.store.boot", lambda: "the next one")
    for call in ("utime", "open"):
        monkeypatch.setattr(os, call, read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    assert store.use(name) is not None


def test_a_program_that_cannot_be_read_for_now_is_not_dropped(store, folder, monkeypatch):
    name = put(store, pack(program()))

    def no_descriptors(path):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("edgesplit.node.program.store.map_weight_file", no_descriptors)
        assert store.use(name) is None
    assert store.use(name) is not None


def test_a_process_that_stands_still_holds_nobody_up(store, folder, monkeypatch):
    put(store, pack(program()))
    monkeypatch.setattr("edgesplit.node.program.store_folder._LOCK_TIMEOUT_S", 0.05)
    with (folder / "lock").open("r+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="unavailable"):
            put(ProgramStore(folder), pack(program(1)))
    assert list((folder / "parts").iterdir()) == []
    assert put(store, pack(program(1)))


def test_clearing_gives_up_kept_exports_too(store, folder):
    put(store, pack(program()))
    exports = folder / "exports"
    exports.mkdir()
    (exports / "one").write_bytes(b"12345")
    before = store.kept.n_bytes
    assert store.kept.clear() == []
    assert not exports.exists()
    assert before - store.kept.n_bytes > 5


def large(seed=0):
    return np.random.default_rng(seed).integers(0, 256, 3 * MIB + 5, np.uint8)


def test_a_shared_storage_is_the_file_of_the_programs_that_have_it(store, folder):
    packed = pack(program())
    (name,) = [n for n, s in packed.by_name.items() if s.nbytes >= MIB]
    shared = store.shared(name, packed.by_name[name])
    assert np.array_equal(shared, packed.by_name[name])
    (file,) = weights_of(folder)
    put(store, packed)
    assert file in weights_of(folder)
    assert not list((folder / "parts").iterdir())


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-9] + bytes(9), lambda _: b""])
def test_a_shared_storage_is_never_that_of_a_damaged_file(store, folder, damage):
    storage = large()
    name = storage_name(storage)
    before = store.shared(name, storage)
    (path,) = weights_of(folder).values()
    data = path.read_bytes()
    path.unlink()  # or `before`, which maps it, would see the damage
    path.write_bytes(damage(data))
    assert np.array_equal(store.shared(name, storage), storage)
    assert np.array_equal(before, storage)
    assert path.read_bytes() == data


def test_without_a_folder_nothing_is_shared_and_that_is_said_once(folder, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    programs = HostPrograms(ProgramStore(folder))
    storage = large()
    for _ in range(2):
        assert programs.shared(storage_name(storage), storage) is None
    assert caplog.text.count("programs stay in memory") == 1
