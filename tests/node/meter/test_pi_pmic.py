"""A Raspberry Pi 5's power chip, without one: answers in its format, a made-up mailbox, trees."""

import errno
import math
import struct
import subprocess
from pathlib import Path

import pytest

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.pi_pmic import (
    ONE_BOARD,
    PiPmicSensor,
    PmicCalibration,
    discover,
    rails_w,
)
from edgesplit.node.meter.sensor.vcio import (
    FIRMWARE_FIX,
    GROUP_FIX,
    Mailbox,
    Vcgencmd,
    answer,
    find_transports,
    ioctl_number,
    request,
)

DATA = Path(__file__).parents[1] / "data"
IDLE, STRESS = ((DATA / f"pmic_{name}.txt").read_text() for name in ("idle", "stress"))
TWO_RAILS = """\
  VDD_CORE_A current(7)=2.00000000A
      HDMI_A current(22)=0.50000000A
      HDMI_V volt(23)=5.00000000V
   EXT5V_V volt(24)=5.10000000V
    BATT_V volt(25)=0.00000000V
  VDD_CORE_V volt(15)=0.75000000V
"""


def without(text, name):
    """The answer without the line of one channel."""
    kept = [line for line in text.splitlines() if line.split()[0] != name]
    assert len(kept) == len(text.splitlines()) - 1
    return "\n".join(kept)


class Firmware:
    """What the mailbox driver does with a buffer: fills it as Linux and the firmware do."""

    def __init__(self, text="", error=0, refuses=0):
        self.text, self.error, self.refuses = text, error, refuses
        self.asked = []

    def __call__(self, file, number, buffer, is_filled):
        assert is_filled
        if self.refuses:
            raise OSError(self.refuses, "made up")
        self.asked.append((number, bytes(buffer)))
        struct.pack_into("<I", buffer, 4, 0x80000000)
        struct.pack_into("<I", buffer, 20, self.error)
        buffer[24 : 24 + 4096] = self.text.encode().ljust(4096, b"\0")
        return 0


# ---- what the rails say


def test_rails_are_paired_by_name():
    assert rails_w(TWO_RAILS) == pytest.approx({"VDD_CORE": 1.5, "HDMI": 2.5})


@pytest.mark.parametrize(
    ("text", "watts", "core_w"), [(IDLE, 1.9002, 0.5786), (STRESS, 10.7995, 9.1480)]
)
def test_a_full_answer(text, watts, core_w):
    rails = rails_w(text)
    assert len(rails) == 12
    assert not {"EXT5V", "BATT"} & rails.keys()
    assert sum(rails.values()) == pytest.approx(watts, abs=1e-4)
    assert rails["VDD_CORE"] == pytest.approx(core_w, abs=1e-4)


@pytest.mark.parametrize(
    ("lost", "named"),
    [("VDD_CORE_A", "current of rail VDD_CORE"), ("3V7_WL_SW_V", "voltage of rail 3V7_WL_SW")],
)
def test_half_a_rail_is_an_error_that_names_it(lost, named):
    with pytest.raises(MeterError, match=named):
        rails_w(without(IDLE, lost))


def test_voltages_without_a_current_may_be_missing():
    assert rails_w(without(TWO_RAILS, "BATT_V")) == rails_w(TWO_RAILS)


@pytest.mark.parametrize(
    "line",
    [
        "VDD_CORE_A current(7)=A",
        "VDD_CORE_A current(7)=nanA",
        "VDD_CORE_A volt(7)=1.0V",
        "VDD_CORE_A current(7)=1.0V",
        "VDD_CORE current(7)=1.0A",
        "VDD_CORE_A current(7)=1.0A more",
        "pmic_read_adc",
    ],
)
def test_garbage_is_quoted(line):
    with pytest.raises(MeterError) as caught:
        rails_w(f"{TWO_RAILS}\n {line}\n")
    assert repr(line) in caught.value.reason


def test_a_firmware_that_does_not_know_the_command():
    with pytest.raises(MeterError) as caught:
        rails_w('error=1 error_msg="Command not registered"')
    assert "Command not registered" in caught.value.reason
    assert caught.value.fix == FIRMWARE_FIX


@pytest.mark.parametrize("text", ["", "EXT5V_V volt(24)=5.1V"])
def test_no_rail_is_no_zero(text):
    with pytest.raises(MeterError, match="no rail"):
        rails_w(text)


# ---- the mailbox, bit by bit


def test_the_request_word_by_word():
    buffer = request("pmic_read_adc")
    assert len(buffer) == 6 * 4 + 4096 + 4
    assert struct.unpack_from("<6I", buffer) == (4124, 0, 0x00030080, 4096, 0, 0)
    assert bytes(buffer[24:38]) == b"pmic_read_adc\0"
    assert not any(buffer[37:])  # the rest of the text, and the end tag


def test_a_command_that_does_not_fit():
    assert len(request("x" * 4095)) == 4124
    with pytest.raises(MeterError, match="4096"):
        request("x" * 4096)


def test_the_number_depends_on_the_width_of_a_pointer():
    assert ioctl_number(8) == 0xC0086400
    assert ioctl_number(4) == 0xC0046400
    assert ioctl_number() in (0xC0086400, 0xC0046400)


def test_the_answer_ends_at_its_zero():
    buffer = request("")
    buffer[24:33] = b"a=1\nb\0old"
    assert answer(bytes(buffer)) == "a=1\nb"


def test_an_answer_as_long_as_the_buffer():
    buffer = request("")
    buffer[24 : 24 + 4096] = b"x" * 4096
    assert answer(bytes(buffer)) == "x" * 4096


def test_a_refused_command_is_an_error():
    buffer = request("")
    struct.pack_into("<I", buffer, 20, 0x80000001)
    with pytest.raises(MeterError, match=str(0x80000001)):
        answer(bytes(buffer))


def test_the_mailbox_asks_and_returns_the_text(tmp_path):
    device = tmp_path / "vcio"
    device.touch()
    firmware = Firmware(IDLE)
    assert Mailbox(device, firmware)("pmic_read_adc") == IDLE
    assert firmware.asked == [(ioctl_number(), bytes(request("pmic_read_adc")))]


@pytest.mark.parametrize(
    ("refuses", "fix"), [(errno.EACCES, GROUP_FIX), (errno.EPERM, GROUP_FIX), (errno.EIO, "")]
)
def test_a_mailbox_that_refuses(tmp_path, refuses, fix):
    device = tmp_path / "vcio"
    device.touch()
    with pytest.raises(MeterError) as caught:
        Mailbox(device, Firmware(refuses=refuses))("pmic_read_adc")
    assert str(device) in caught.value.reason
    assert fix in caught.value.fix


def test_a_mailbox_that_is_gone(tmp_path):
    with pytest.raises(MeterError, match="vcio"):
        Mailbox(tmp_path / "vcio")("pmic_read_adc")


def test_a_file_that_is_no_mailbox(tmp_path):
    device = tmp_path / "vcio"
    device.touch()
    with pytest.raises(MeterError, match="failed"):  # the kernel's own refusal: ENOTTY
        Mailbox(device)("pmic_read_adc")


# ---- the program


def program(folder, script):
    """A vcgencmd that runs a line of shell."""
    path = folder / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_program_gets_the_command(tmp_path):
    path = program(tmp_path, 'echo "$# $1"')
    assert Vcgencmd(str(path))("pmic_read_adc") == "1 pmic_read_adc"


def test_a_program_that_never_ends(tmp_path, monkeypatch):
    path = program(tmp_path, "exec tail -f /dev/null")
    run, limits_s = subprocess.run, []

    def limited(words, **more):
        limits_s.append(more["timeout"])
        return run(words, **more)

    monkeypatch.setattr(subprocess, "run", limited)
    with pytest.raises(MeterError, match=r"no answer in 0\.1 s"):
        Vcgencmd(str(path), timeout_s=0.1)("pmic_read_adc")
    assert limits_s == [0.1]  # not the time limit that it has by itself


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("Can't open device file: /dev/vcio", GROUP_FIX),
        ("vc_gencmd_read_response returned -1", FIRMWARE_FIX),
    ],
)
def test_a_program_that_fails(tmp_path, words, fix):
    path = program(tmp_path, f'echo "{words}" >&2; exit 255')
    with pytest.raises(MeterError) as caught:
        Vcgencmd(str(path))("pmic_read_adc")
    assert words in caught.value.reason.replace("\\", "")
    assert caught.value.fix == fix


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(MeterError, match="vcgencmd failed"):
        Vcgencmd(str(tmp_path / "vcgencmd"))("pmic_read_adc")


# ---- which host it is


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Make a host: its model, its devices, and the answer of its vcgencmd if it has one."""

    def make(model=None, devices=(), answers=None):
        if model is not None:
            folder = tmp_path / "proc/device-tree"
            folder.mkdir(parents=True)
            (folder / "model").write_bytes(model.encode() + b"\0")
        (tmp_path / "dev").mkdir()
        for device in devices:
            (tmp_path / "dev" / device).touch()
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
        if answers is not None:
            (tmp_path / "answers").write_text(answers)
            program(tmp_path / "bin", f"while read -r l; do echo $l; done < {tmp_path}/answers")
        return tmp_path

    return make


PI_5 = "Raspberry Pi 5 Model B Rev 1.0"


def test_the_mailbox_comes_before_the_program(host):
    root = host(PI_5, ["vcio", "vcio_gencmd"], IDLE)
    assert find_transports(root) == [
        Mailbox(root / "dev/vcio_gencmd"),
        Mailbox(root / "dev/vcio"),
        Vcgencmd(str(root / "bin/vcgencmd")),
    ]


@pytest.mark.parametrize("model", ["Raspberry Pi 500 Rev 1.0", "Raspberry Pi Compute Module 5", ""])
def test_boards_with_that_chip_or_a_name_that_is_hidden(host, model):
    root = host(model or None, ["vcio"])
    assert find_transports(root) == [Mailbox(root / "dev/vcio")]


def test_a_pi_4_measures_no_currents(host):
    [found] = discover(host("Raspberry Pi 4 Model B Rev 1.4", ["vcio"], IDLE))
    assert found.sensor is None
    assert found.reason.startswith("Raspberry Pi 4 Model B Rev 1.4 does not measure currents")
    assert found.fix == ""


def test_a_host_that_is_no_pi(host):
    [found] = discover(host())
    assert (found.id, found.sensor, found.fix) == ("pi-pmic", None, "")
    assert "no Raspberry Pi 5" in found.reason


def test_a_pi_5_that_lacks_everything_is_told_what_to_install(host):
    [found] = discover(host(PI_5))
    assert found.reason.startswith(PI_5)
    assert "apt install raspi-utils" in found.fix


def test_the_program_answers_where_the_mailbox_does_not(host):
    [found] = discover(host(PI_5, ["vcio"], STRESS))  # a plain file: its ioctl is refused
    assert found.sensor is not None
    found.sensor.open()
    assert found.sensor.read().watts == pytest.approx(10.7995, abs=1e-4)


def test_where_none_answers_the_best_one_says_why(host):
    [found] = discover(host(PI_5, ["vcio"], "garbage"))
    assert "dev/vcio failed" in found.reason


# ---- the source


def clock_of(*times_s):
    return iter(times_s).__next__


def test_the_sum_of_the_rails():
    sensor = PiPmicSensor(lambda command: TWO_RAILS, clock=clock_of(10.0, 10.4))
    sensor.open()
    reading = sensor.read()
    assert reading.watts == pytest.approx(4.0)
    assert dict(reading.parts) == pytest.approx({"VDD_CORE": 1.5, "HDMI": 2.5})
    assert reading.at_s == pytest.approx(10.2)  # the middle of the answer
    info = sensor.info
    assert (info.id, info.scope, info.kind) == ("pi-pmic", "board rails", "power")
    assert info.update_s == 0.1
    assert math.isnan(info.rel_accuracy)
    assert "unverified" in info.provenance
    assert "not calibrated" in info.provenance
    assert "USB" in info.excludes[0]
    assert "converters" in info.excludes[1]


def test_it_asks_the_chip():
    asked = []
    PiPmicSensor(lambda command: asked.append(command) or IDLE).open()
    assert asked == ["pmic_read_adc"]


@pytest.mark.parametrize(("text", "watts"), [(IDLE, 2.764), (STRESS, 12.954)])
def test_calibrated_it_is_the_input_of_the_board(text, watts):
    sensor = PiPmicSensor(lambda command: text, calibration=ONE_BOARD)
    sensor.open()
    reading = sensor.read()
    assert reading.watts == pytest.approx(watts, abs=1e-3)
    assert sum(reading.parts.values()) == pytest.approx(sum(rails_w(text).values()))
    assert sensor.info.scope == "board input"
    assert "1.1451" in sensor.info.provenance
    assert "another's board" in sensor.info.provenance
    assert not any("converter" in part for part in sensor.info.excludes)


def test_a_calibration_says_what_is_known_of_it():
    fitted = PmicCalibration(1.2, 0.4, 0.05, "2026-03-01", "POWER-Z KM003C")
    assert fitted.describe() == (
        "1.2000 x rails + 0.4000 W, against POWER-Z KM003C, 2026-03-01, residual 0.05 W"
    )
    assert "residual unknown" in ONE_BOARD.describe()


@pytest.mark.parametrize(
    ("gain", "offset_w", "residual_w"),
    [(0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (math.nan, 0.0, 0.0), (1.0, math.inf, 0.0), (1.0, 0.0, -1)],
)
def test_a_calibration_that_cannot_be(gain, offset_w, residual_w):
    with pytest.raises(MeterError, match="gain"):
        PmicCalibration(gain, offset_w, residual_w, "", "")


def test_a_rail_that_goes_missing_does_not_lower_the_sum():
    answers = iter([IDLE, without(without(IDLE, "HDMI_A"), "HDMI_V")])
    sensor = PiPmicSensor(lambda command: next(answers))
    sensor.open()
    with pytest.raises(MeterError, match="no longer gives HDMI"):
        sensor.read()


def test_it_is_read_only_while_open():
    sensor = PiPmicSensor(lambda command: IDLE)
    with pytest.raises(MeterError, match="call open"):
        sensor.read()
    sensor.open()
    sensor.close()
    sensor.close()
    with pytest.raises(MeterError, match="call open"):
        sensor.read()
