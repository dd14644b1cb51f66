"""Memory headroom: what the machine and cgroups of both versions allow, and what is refused."""

import pytest
from runtime_cases import case

from edgesplit.errors import HeadroomError
from edgesplit.node.process import headroom
from edgesplit.node.process.headroom import KEPT_BYTES, Memory, cgroup_memory, machine_memory

GIB = 2**30


def group(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def v2(limit, current, inactive=0, active=0):
    stat = f"anon 1\ninactive_file {inactive}\nactive_file {active}"
    return {"memory.max": limit, "memory.current": current, "memory.stat": stat}


def v1(limit, usage, inactive=0):
    stat = f"cache 1\ntotal_inactive_file {inactive}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": usage, "memory.stat": stat}


def found(tmp_path, lines):
    mine = tmp_path / "cgroup"
    mine.write_text("".join(f"{line}\n" for line in lines))
    return list(cgroup_memory(tmp_path / "fs", mine))


def test_of_nested_groups_each_limit_counts(tmp_path):
    root = tmp_path / "fs"
    group(root / "system.slice", v2(2 * GIB, GIB, GIB // 2))
    group(root / "system.slice/edgesplit.service", v2("max", GIB))
    assert found(tmp_path, ["0::/system.slice/edgesplit.service"]) == [
        Memory(2 * GIB, 2 * GIB - GIB + GIB // 2)
    ]


def test_version_1_is_read_where_its_controller_is(tmp_path):
    group(tmp_path / "fs/memory/docker/x", v1(GIB, GIB // 4, GIB // 8))
    lines = ["5:cpu,cpuacct:/docker/x", "4:memory:/docker/x", "0::/"]
    assert found(tmp_path, lines) == [Memory(GIB, GIB - GIB // 4 + GIB // 8)]


def test_file_pages_in_use_can_be_had_too_or_mapped_weights_would_count_twice(tmp_path):
    group(tmp_path / "fs", v2(4 * GIB, 3 * GIB, GIB // 2, GIB))
    assert found(tmp_path, ["0::/"]) == [Memory(4 * GIB, 2 * GIB + GIB // 2)]


def test_inside_a_container_the_root_is_its_own_group(tmp_path):
    group(tmp_path / "fs/memory", v1(GIB, GIB // 4))
    assert found(tmp_path, ["4:memory:/not/to/be/seen"]) == [Memory(GIB, GIB - GIB // 4)]


def test_a_group_that_lies_elsewhere_is_not_followed_out_of_the_tree(tmp_path):
    group(tmp_path, v2(1, 1))
    (tmp_path / "fs").mkdir()
    assert found(tmp_path, ["0::/../../elsewhere"]) == []


def test_no_cgroups_no_limits(tmp_path):
    assert list(cgroup_memory(tmp_path, tmp_path / "missing")) == []
    assert found(tmp_path, ["0::/"]) == []


def test_this_machine_has_memory():
    memory = machine_memory()
    assert 0 < memory.available <= memory.total
    assert all(m.available >= 0 for m in cgroup_memory())


@pytest.mark.parametrize(("total", "kept"), [(GIB // 2, KEPT_BYTES), (100 * GIB, 7 * GIB)])
def test_some_stays_free(total, kept):
    assert Memory(total, total).headroom == pytest.approx(total - kept, abs=1)


def test_the_tightest_decides_and_the_error_says_by_how_much(monkeypatch):
    monkeypatch.setattr(headroom, "machine_memory", lambda: Memory(8 * GIB, 7 * GIB))
    monkeypatch.setattr(headroom, "cgroup_memory", lambda: iter([Memory(GIB, 200 * 2**20)]))
    headroom.require_headroom(100 * 2**20, "this")
    with pytest.raises(HeadroomError, match=r"this would take 157 MB .* 210 MB can be had"):
        headroom.require_headroom(150 * 2**20, "this")
    headroom.require_headroom(0, "this")


@pytest.mark.parametrize("runtime", ["onnx", "torch-channels-last"])
def test_a_range_with_weights_of_its_own_is_refused_and_can_be_had_later(monkeypatch, runtime):
    made = case("UNet").runtimes[runtime]
    with monkeypatch.context() as tight:
        tight.setattr(headroom, "machine_memory", lambda: Memory(8 * GIB, GIB // 2))
        with pytest.raises(HeadroomError, match=r"have to stay free\. Free memory on this host"):
            made.prepare(0, 10)
    assert made.prepare(0, 10).n_bytes > 0
