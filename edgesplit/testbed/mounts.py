"""The folders of the machine over which each host mounts its own.

They have to exist on the machine itself. Those that had to be made are noted, and removed with the
last testbed: removing one while another testbed runs would take that one's mounts away.
"""

import contextlib
from pathlib import Path

ETC, RAY_TEMP = Path("/etc/edgesplit"), Path("/tmp/ray")
_NOTE = "folders-made"


def make(testbeds: Path) -> None:
    """Make what is missing; `testbeds` is the folder of all testbeds on this machine."""
    note = testbeds / _NOTE
    made = note.read_text().splitlines() if note.exists() else []
    missing = [str(folder) for folder in (ETC, RAY_TEMP) if not folder.exists()]
    note.write_text("\n".join(sorted({*made, *missing})))
    for folder in missing:
        Path(folder).mkdir(parents=True, exist_ok=True)


def remove(testbeds: Path) -> None:
    """Remove what was made, if no testbed is left and nobody else has put anything there."""
    note = testbeds / _NOTE
    if not note.exists() or any(path.is_dir() for path in testbeds.iterdir()):
        return
    for folder in note.read_text().splitlines():
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    note.unlink()
