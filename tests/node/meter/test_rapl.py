"""RAPL on fake trees: what is summed, what is counted once, and what a bad file leads to."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sysfs_trees import RANGE_UJ, Clock, set_uj, write, zone

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor import rapl
from edgesplit.node.meter.sensor.rapl import DRAM, PACKAGE, PSYS, RaplSensor

J = 1_000_000  # uJ


@pytest.fixture
def clock():
    return Clock()


def opened(root, clock, domain=PACKAGE, cpuinfo="vendor_id : GenuineIntel flags : fpu"):
    path = write(root / "proc", cpuinfo=cpuinfo) / "cpuinfo"
    sensor = RaplSensor(root, clock, domain, path)
    sensor.open()
    return sensor


def later(clock, sensor, seconds=1.0):
    clock.now_s += seconds
    return sensor.read()


def why_not(root, clock, domain=PACKAGE, cpuinfo="vendor_id : GenuineIntel"):
    with pytest.raises(MeterError) as caught:
        opened(root, clock, domain, cpuinfo)
    return caught.value


def test_one_package(tmp_path, clock):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 7 * J)
    sensor = opened(tmp_path, clock)
    set_uj(package, 12 * J)
    reading = later(clock, sensor)
    assert reading.at_s == 101.0
    assert reading.joules == pytest.approx(5.0)
    assert reading.parts == pytest.approx({"package-0": 5.0})
    assert not reading.is_break


def test_packages_are_summed_and_nothing_else(tmp_path, clock):
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0"),
        zone(tmp_path, "intel-rapl:0:0", "core"),
        zone(tmp_path, "intel-rapl:0:1", "uncore"),
        zone(tmp_path, "intel-rapl:0:2", "dram"),
        zone(tmp_path, "intel-rapl:1", "package-1"),
        zone(tmp_path, "intel-rapl:2", "psys"),
    ]
    sensor = opened(tmp_path, clock)
    for i, folder in enumerate(zones):
        set_uj(folder, 2**i * J)
    assert later(clock, sensor).joules == pytest.approx(1 + 2**4)


@pytest.mark.parametrize(
    ("domain", "id", "scope", "expected", "parts"),
    [
        (PACKAGE, "rapl", "cpu package", 1.0, {"package-0": 1.0}),
        (DRAM, "rapl-dram", "dram", 2.0, {"package-0/dram": 2.0}),
        (PSYS, "rapl-psys", "platform", 4.0, {"psys": 4.0}),
    ],
)
@pytest.mark.parametrize("dram", ["intel-rapl:0:0", "intel-rapl:0/intel-rapl:0:0"])
def test_each_domain_is_a_source(tmp_path, clock, domain, id, scope, expected, parts, dram):
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0"),
        zone(tmp_path, dram, "dram"),
        zone(tmp_path, "intel-rapl:1", "psys"),
    ]
    sensor = opened(tmp_path, clock, domain)
    for i, folder in enumerate(zones):
        set_uj(folder, 2**i * J)
    reading = later(clock, sensor)
    assert (sensor.info.id, sensor.info.scope, sensor.info.kind) == (id, scope, "counter")
    assert reading.joules == pytest.approx(expected)
    assert reading.parts == pytest.approx(parts)


def test_flat_links_to_a_nested_tree_count_once(tmp_path, clock):
    """The real layout: class/powercap holds links, sub-zones are links and folders."""
    package = zone(tmp_path, "intel-rapl/intel-rapl:0", "package-0")
    dram = zone(tmp_path, "intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    for folder in (package, dram):
        (tmp_path / "class/powercap" / folder.name).symlink_to(folder)
    sensors = [opened(tmp_path, clock, domain) for domain in (PACKAGE, DRAM)]
    set_uj(package, 3 * J)
    set_uj(dram, 1 * J)
    assert [later(clock, sensor).joules for sensor in sensors] == pytest.approx([3.0, 1.0])


def test_nested_tree_alone(tmp_path, clock):
    zone(tmp_path, "intel-rapl/intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    assert opened(tmp_path, clock).read().parts == {"package-0": 0.0}
    assert opened(tmp_path, clock, DRAM).read().parts == {"package-0/dram": 0.0}


def test_mmio_repeats_a_package_and_is_ignored(tmp_path, clock):
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    mmio = zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    sensor = opened(tmp_path, clock)
    set_uj(package, 5 * J)
    set_uj(mmio, 9 * J)
    assert later(clock, sensor).joules == pytest.approx(5.0)
    assert "intel-rapl:0 package-0" in sensor.info.provenance
    assert "mmio" not in sensor.info.provenance


def test_mmio_alone_is_used(tmp_path, clock):
    mmio = zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    sensor = opened(tmp_path, clock)
    set_uj(mmio, 9 * J)
    assert later(clock, sensor).joules == pytest.approx(9.0)
    assert "intel-rapl-mmio:0" in sensor.info.provenance


def two_dies(root, first_uj, second_uj):
    return (
        zone(root, "intel-rapl:0", "package-0-die-0", first_uj),
        zone(root, "intel-rapl:1", "package-0-die-1", second_uj),
    )


@pytest.mark.parametrize("lag_uj", [4000, 0, -4000])
def test_amd_dies_that_show_one_counter_count_once(tmp_path, clock, lag_uj):
    dies = two_dies(tmp_path, 500 * J, 500 * J + lag_uj)
    sensor = opened(tmp_path, clock)
    for die in dies:
        set_uj(die, 568 * J)
    reading = later(clock, sensor)
    assert reading.joules == pytest.approx(68.0)
    assert list(reading.parts) == ["package-0-die-0"]
    assert "package-0-die-1 repeats package-0-die-0 and is not counted" in sensor.info.provenance


def test_dies_with_counters_of_their_own_are_summed(tmp_path, clock):
    dies = two_dies(tmp_path, 500 * J, 900 * J)
    sensor = opened(tmp_path, clock)
    set_uj(dies[0], 510 * J)
    set_uj(dies[1], 930 * J)
    assert later(clock, sensor).joules == pytest.approx(40.0)
    assert "repeats" not in sensor.info.provenance


def test_dies_that_only_started_alike_are_found_out(tmp_path, clock):
    dies = two_dies(tmp_path, 0, 0)
    sensor = opened(tmp_path, clock)
    set_uj(dies[0], 10 * J)
    set_uj(dies[1], 30 * J)
    with pytest.raises(MeterError, match="no longer repeats") as caught:
        later(clock, sensor)
    assert "open it again" in caught.value.fix
    sensor.close()
    sensor.open()
    set_uj(dies[0], 11 * J)
    set_uj(dies[1], 32 * J)
    assert later(clock, sensor).joules == pytest.approx(3.0)


def test_equal_packages_are_no_dies(tmp_path, clock):
    zones = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 5 * J) for i in (0, 1)]
    sensor = opened(tmp_path, clock)
    for folder in zones:
        set_uj(folder, 6 * J)
    assert later(clock, sensor).joules == pytest.approx(2.0)


def test_wrap_of_one_zone(tmp_path, clock):
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    wraps = zone(tmp_path, "intel-rapl:1", "package-1", RANGE_UJ - 3 * J)
    sensor = opened(tmp_path, clock)
    set_uj(wraps, 2 * J)
    reading = later(clock, sensor)
    assert reading.joules == pytest.approx(5.0)
    assert not reading.is_break


def test_each_zone_wraps_at_its_own_range(tmp_path, clock):
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - J),
        zone(tmp_path, "intel-rapl:1", "package-1", 65_000 * J - J, range_uj=65_000 * J),
    ]
    sensor = opened(tmp_path, clock)
    for folder in zones:
        set_uj(folder, J)
    assert later(clock, sensor).joules == pytest.approx(4.0)


def test_reset_after_a_suspend_is_a_break(tmp_path, clock):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 90_000 * J)
    sensor = opened(tmp_path, clock)
    set_uj(package, 90_010 * J)
    assert later(clock, sensor).joules == pytest.approx(10.0)
    set_uj(package, 5 * J)
    reading = later(clock, sensor)
    assert (reading.is_break, reading.joules) == (True, pytest.approx(10.0))
    set_uj(package, 8 * J)
    reading = later(clock, sensor)
    assert (reading.is_break, reading.joules) == (False, pytest.approx(13.0))


def test_long_silence_is_a_break(tmp_path, clock):
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock)
    set_uj(package, 10 * J)
    assert later(clock, sensor, seconds=3600).is_break


def test_resolution_is_the_machines_own_step(tmp_path, clock):
    zone(tmp_path, "intel-rapl:0", "package-0")
    assert opened(tmp_path, clock).info.resolution == pytest.approx(61.035e-6, rel=1e-4)


@pytest.mark.parametrize(("flags", "is_noted"), [("fpu sgx sgx_lc", True), ("fpu sgxfoo", False)])
def test_sgx_is_noted(tmp_path, clock, flags, is_noted):
    zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock, cpuinfo=f"flags\t: {flags}")
    assert ("SGX" in sensor.info.provenance) == is_noted


@pytest.mark.parametrize("text", ["", "garbage", "12.5", "0x10", "1 2", "\N{SUPERSCRIPT TWO}"])
def test_garbage_is_an_error_that_quotes_it(tmp_path, clock, text):
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock)
    set_uj(package, text)
    with pytest.raises(MeterError) as caught:
        later(clock, sensor)
    assert str(package / "energy_uj") in caught.value.reason
    assert repr(text) in caught.value.reason


def test_a_failed_read_moves_no_counter(tmp_path, clock):
    zones = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}") for i in (0, 1)]
    sensor = opened(tmp_path, clock)
    set_uj(zones[0], 4 * J)
    set_uj(zones[1], "garbage")
    with pytest.raises(MeterError):
        later(clock, sensor)
    set_uj(zones[1], 6 * J)
    assert later(clock, sensor).joules == pytest.approx(10.0)


def test_a_zone_that_vanishes(tmp_path, clock):
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock)
    shutil.rmtree(package)
    with pytest.raises(MeterError, match="is not there"):
        later(clock, sensor)


def test_a_device_that_answers_with_an_error(tmp_path, clock):
    """The start of a process's own memory is never mapped: the kernel really says EIO."""
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock)
    (package / "energy_uj").unlink()
    (package / "energy_uj").symlink_to("/proc/self/mem")
    with pytest.raises(MeterError, match=r"cannot be read: .* \(EIO\)"):
        later(clock, sensor)


def test_closed_source_is_not_read(tmp_path, clock):
    zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = opened(tmp_path, clock)
    sensor.close()
    sensor.close()
    with pytest.raises(MeterError, match="not open"):
        sensor.read()


@pytest.mark.parametrize(
    ("cpuinfo", "fix"),
    [
        ("vendor_id : GenuineIntel", "sudo modprobe intel_rapl_msr"),
        ("vendor_id : AuthenticAMD", "sudo modprobe intel_rapl_msr"),
        ("vendor_id : GenuineIntel flags : hypervisor", "run on the host"),
        ("CPU implementer : 0x41", ""),
    ],
)
def test_no_powercap_at_all(tmp_path, clock, cpuinfo, fix):
    error = why_not(tmp_path, clock, cpuinfo=cpuinfo)
    assert "no zone at all" in error.reason
    assert error.fix.startswith(fix)
    assert bool(error.fix) == bool(fix)


def test_a_domain_that_is_not_there_names_what_is(tmp_path, clock):
    zone(tmp_path, "intel-rapl:0", "package-0")
    error = why_not(tmp_path, clock, PSYS)
    assert "package-0" in error.reason
    assert error.fix == ""


def test_discover_says_of_each_domain_what_it_found(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:0:0", "dram", "garbage")
    package, psys, dram = rapl.discover(tmp_path)
    assert [found.id for found in (package, psys, dram)] == ["rapl", "rapl-psys", "rapl-dram"]
    assert package.sensor.info.scope == "cpu package"
    assert psys.sensor is None
    assert "no psys zone" in psys.reason
    assert dram.sensor is None
    assert "'garbage'" in dram.reason
    with pytest.raises(MeterError, match="not open"):
        package.sensor.read()  # it was closed again


AS_NOBODY = """
import os, sys
from pathlib import Path
from edgesplit.node.meter.sensor import rapl  # first: the checkout may be closed to others
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
found = rapl.discover(Path(sys.argv[1]))[0]
print(found.sensor); print(found.reason); print(found.fix)
"""


def test_mode_0400_is_refused_with_the_udev_rule():
    """A real refusal by the kernel: a child process that is not root reads a closed file."""
    root = Path(tempfile.mkdtemp(prefix="edgesplit-rapl-", dir="/tmp"))
    try:
        root.chmod(0o755)
        package = zone(root, "intel-rapl:0", "package-0", 5)
        (package / "energy_uj").chmod(0o400 if os.getuid() == 0 else 0)
        command = [sys.executable, "-c", AS_NOBODY, str(root)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        shutil.rmtree(root)
    assert child.returncode == 0, child.stderr
    sensor, reason, fix = child.stdout.splitlines()
    assert sensor == "None"
    assert reason == f"{package}/energy_uj may not be read by this user"
    assert fix == rapl.UDEV_FIX


def test_the_udev_fix_can_be_pasted(tmp_path):
    """Runs it with a sudo that only notes its words and lets tee write here."""
    write(tmp_path, sudo=FAKE_SUDO)
    (tmp_path / "sudo").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "USER": "pi", "OUT": str(tmp_path)}
    subprocess.run(["sh", "-c", rapl.UDEV_FIX], check=True, env=env, capture_output=True)
    assert (tmp_path / "rule").read_text().strip() == (
        'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", '
        'RUN+="/usr/bin/chgrp edgesplit /sys/%p/energy_uj", '
        'RUN+="/usr/bin/chmod g+r /sys/%p/energy_uj"'
    )
    assert (tmp_path / "said").read_text().splitlines() == [
        "groupadd -f edgesplit",
        "tee /etc/udev/rules.d/70-edgesplit-rapl.rules",
        "udevadm control --reload-rules",
        "udevadm trigger",
        "usermod -aG edgesplit pi",
    ]


FAKE_SUDO = """#!/bin/sh
echo "$*" >> "$OUT/said"
[ "$1" != tee ] || cat > "$OUT/rule"
"""
