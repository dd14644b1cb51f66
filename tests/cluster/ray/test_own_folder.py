"""An embedded cluster's folder: claimed by who lives, removed by whoever comes after his death."""

import fcntl
import json
import os
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgesplit.cluster.ray.own_folder import OwnFolder, remove_stale
from edgesplit.deploy.node_env import RAY_SOCKET
from edgesplit.errors import ClusterError

NOBODY = 65534
MAKE_AND_DIE = (
    "import os; from edgesplit.cluster.ray import own_folder\n"
    "own_folder._watched = lambda folder: None\n"  # as if it had been killed too
    "print(own_folder.OwnFolder().ray.parent, flush=True); os.kill(os.getpid(), 9)"
)


@pytest.fixture(autouse=True)
def temp(monkeypatch):
    """A temp folder of the test's, in which nobody else has anything."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)


def made_by_a_dead_process():
    done = subprocess.run([sys.executable, "-c", MAKE_AND_DIE], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr  # or what is done to the folder would be done here
    return Path(done.stdout.strip())


def test_a_living_ones_folder_stays(temp):
    folder = OwnFolder()
    assert folder.ray.parent.parent == temp
    remove_stale()
    assert folder.ray.parent.is_dir()
    folder.remove()
    assert list(temp.iterdir()) == []


def test_rays_sockets_have_room(temp):
    folder = OwnFolder()
    try:
        assert len(os.fsencode(folder.ray)) + len(RAY_SOCKET) <= 107
    finally:
        folder.remove()


def test_a_dead_ones_folder_is_removed_by_the_next_start():
    left = made_by_a_dead_process()
    (left / "r").mkdir(mode=0o777)
    (left / "r" / "log").write_text("")
    remove_stale()
    assert not left.exists()


def test_another_process_with_the_same_number_is_not_the_owner():
    left = made_by_a_dead_process()
    (left / "owner").write_text(json.dumps({"pid": os.getpid(), "started_s": 1.0}))
    remove_stale()
    assert not left.exists()


def test_a_living_owner_counts_even_where_locks_are_lost(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda handle, how: None)  # everybody has it
    folder = OwnFolder()
    remove_stale()
    assert folder.ray.parent.is_dir()
    folder.remove()


def test_one_that_is_just_being_made_stays(temp):
    (temp / "es-abcdefgh").mkdir(mode=0o700)
    remove_stale()
    assert (temp / "es-abcdefgh").is_dir()
    os.utime(temp / "es-abcdefgh", (1.0, 1.0))
    remove_stale()
    assert not (temp / "es-abcdefgh").exists()


def test_what_others_can_have_changed_is_left_alone(temp):
    left = made_by_a_dead_process()
    left.chmod(0o777)
    (temp / "es-link0000").symlink_to(temp)
    remove_stale()
    assert left.is_dir()
    assert (temp / "es-link0000").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_another_users_folder_is_left_alone():
    left = made_by_a_dead_process()
    os.chown(left, NOBODY, NOBODY)
    remove_stale()
    assert left.is_dir()


def test_several_starts_at_once_disturb_no_one():
    dead, living = [made_by_a_dead_process() for _ in range(3)], OwnFolder()

    def start(_):
        remove_stale()
        return OwnFolder()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(start, range(16)))
    assert not any(path.exists() for path in dead)
    assert all(folder.ray.parent.is_dir() for folder in (*made, living))
    for folder in (*made, living):
        folder.remove()


def test_no_link_is_followed_to_the_owner_file(temp, monkeypatch):
    """As somebody would put in place who knew the name beforehand."""
    victim = temp / "victim"
    victim.write_text("precious")
    trap = temp / "es-trap0000"
    trap.mkdir(mode=0o700)
    (trap / "owner").symlink_to(victim)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(trap))
    with pytest.raises(FileExistsError):
        OwnFolder()
    assert victim.read_text() == "precious"


def test_a_place_where_others_could_exchange_it_is_not_used(temp):
    temp.chmod(0o777)
    folder = OwnFolder()
    assert folder.ray.parent.parent == Path("/tmp")
    folder.remove()
    temp.chmod(0o1777)
    folder = OwnFolder()
    assert folder.ray.parent.parent == temp
    assert stat.S_IMODE(folder.ray.parent.stat().st_mode) == 0o700
    folder.remove()


def test_no_place_at_all_is_told(monkeypatch):
    monkeypatch.setattr("edgesplit.cluster.ray.own_folder.can_hold_private", lambda _: False)
    with pytest.raises(ClusterError, match="Point TMPDIR to a folder of your own"):
        OwnFolder()
