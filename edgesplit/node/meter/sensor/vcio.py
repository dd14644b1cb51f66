"""A Raspberry Pi's firmware: commands in, text out, by its mailbox or else by `vcgencmd`."""

import fcntl
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.sysfs import read_text

Transport = Callable[[str], str]  # a firmware command in, its answer out; raises MeterError
Ioctl = Callable[[int, int, bytearray, bool], int]

BOARDS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")  # 500 begins like 5
VCGENCMD_TIMEOUT_S = 2.0
GROUP_FIX = "sudo usermod -aG video $USER, then log out and in again"
FIRMWARE_FIX = (
    "sudo apt install raspi-utils && sudo rpi-eeprom-update -a; in a container "
    "`docker run --device /dev/vcio`"
)

# The mailbox of the firmware: a property buffer of 32-bit words (raspberrypi/utils, vcgencmd).
GET_GENCMD_RESULT = 0x00030080
TEXT_BYTES = 4096
_HEAD = struct.Struct("<6I")  # size, request, tag, room for text, length, error


def request(command: str) -> bytearray:
    """The mailbox buffer that asks the firmware for `command`. Raises MeterError if too long."""
    text = command.encode("ascii")
    if len(text) >= TEXT_BYTES:
        raise MeterError(f"a firmware command has under {TEXT_BYTES} bytes, given {len(text)}")
    size = _HEAD.size + TEXT_BYTES + 4  # the last word is the end tag, 0
    head = _HEAD.pack(size, 0, GET_GENCMD_RESULT, TEXT_BYTES, 0, 0)
    return bytearray(head + text.ljust(TEXT_BYTES + 4, b"\0"))


def answer(buffer: bytes) -> str:
    """The text in a buffer that the firmware has filled. Raises MeterError where it refused."""
    error = _HEAD.unpack_from(buffer)[5]
    text = buffer[_HEAD.size : _HEAD.size + TEXT_BYTES].split(b"\0")[0].decode("ascii", "replace")
    if error:
        raise MeterError(f"the firmware answered with error {error}: {text!r}", FIRMWARE_FIX)
    return text


def ioctl_number(pointer_bytes: int = struct.calcsize("P")) -> int:
    """_IOWR(100, 0, char *), which depends on the width of a pointer."""
    return 3 << 30 | pointer_bytes << 16 | 100 << 8


@dataclass(frozen=True)
class Mailbox:
    """The transport over /dev/vcio_gencmd or /dev/vcio: no process is started for a reading."""

    device: Path
    ioctl: Ioctl = fcntl.ioctl

    def __call__(self, command: str) -> str:
        """Raises MeterError where the device refuses."""
        buffer = request(command)
        try:
            with self.device.open("rb", buffering=0) as file:
                self.ioctl(file.fileno(), ioctl_number(), buffer, True)
        except PermissionError as error:
            raise MeterError(f"this user may not use {self.device}", GROUP_FIX) from error
        except OSError as error:
            raise MeterError(f"{self.device} failed: {error.strerror}", FIRMWARE_FIX) from error
        return answer(bytes(buffer))


@dataclass(frozen=True)
class Vcgencmd:
    """The transport through a process per reading: slow, and it takes power itself."""

    program: str
    timeout_s: float = VCGENCMD_TIMEOUT_S

    def __call__(self, command: str) -> str:
        """Raises MeterError where the program fails or does not end in time."""
        words = [self.program, *command.split()]
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout_s
            )
        except subprocess.TimeoutExpired as error:
            reason = f"vcgencmd gave no answer in {self.timeout_s} s"
            raise MeterError(reason, "sudo reboot") from error
        except OSError as error:
            raise MeterError(f"{self.program} failed: {error.strerror}", FIRMWARE_FIX) from error
        text = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        if done.returncode != 0:
            is_closed = "open device file" in text or "ermission" in text
            fix = GROUP_FIX if is_closed else FIRMWARE_FIX
            raise MeterError(f"vcgencmd ended with {done.returncode}: {text!r}", fix)
        return text


def firmware_transports(root: Path = Path("/")) -> list[Transport]:
    """Ways to the firmware of a Raspberry Pi that this host has, best first."""
    devices = [root / "dev" / name for name in ("vcio_gencmd", "vcio")]
    found: list[Transport] = [Mailbox(device) for device in devices if device.exists()]
    program = shutil.which("vcgencmd")
    if program is not None:
        found.append(Vcgencmd(program))
    return found


def find_transports(root: Path = Path("/")) -> list[Transport]:
    """Ways to the firmware of this host, best first. Raises MeterError where it is no Pi 5."""
    path = root / "proc/device-tree/model"
    model = read_text(path).rstrip("\0") if path.exists() else ""
    if model and not model.startswith(BOARDS):
        raise MeterError(f"{model} does not measure currents; a Raspberry Pi 5 does")
    found = firmware_transports(root)
    if not found:
        reason = "no /dev/vcio_gencmd, no /dev/vcio and no vcgencmd"
        if model:
            raise MeterError(f"{model}: {reason}", FIRMWARE_FIX)
        raise MeterError(f"this is no Raspberry Pi 5: {reason}")
    return found
