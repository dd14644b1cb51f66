"""Writes requirements.lock: what a virtual environment holds, by exact version and hash.

    python .ci/lock.py VENV > requirements.lock

The hashes are those of the wheels that pip would take from PyPI on each machine the project runs
on. torch is left out: which build of it is right depends on the machine, and mirrors have their
own. pip is the only one that talks to the registry; nothing is downloaded but metadata.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
MANYLINUX = ("2_28", "2_27", "2_24", "2_17", "2014")  # of Debian 12 and what is older
WITHOUT_HASH = ("torch",)
_HEAD = """\
# Written by `make lock`; the versions that the tests have passed on. `make install` takes these.
# Hashes: of PyPI's wheels for Python {pythons} on {machines}.
# torch is not here: see the Makefile.
"""


def main(venv: str) -> None:
    """Print the lock of that environment."""
    pins = [pin for pin in frozen(venv) if pin.partition("==")[0] not in WITHOUT_HASH]
    hashes: dict[str, set[str]] = {pin: set() for pin in pins}
    for python in PYTHONS:
        for machine in MACHINES:
            for pin, found in wheels(venv, pins, python, machine):
                hashes[pin].add(found)
    print(_HEAD.format(pythons=", ".join(PYTHONS), machines=" and ".join(MACHINES)), end="")
    for pin in sorted(hashes, key=str.lower):
        lines = [pin, *(f"    --hash=sha256:{found}" for found in sorted(hashes[pin]))]
        print(" \\\n".join(lines))


def frozen(venv: str) -> list[str]:
    """NAME==VERSION of everything in the environment but the project; local versions cut off."""
    command = [f"{venv}/bin/pip", "freeze", "--exclude-editable"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return [re.sub(r"\+.*", "", line) for line in ran.stdout.splitlines() if "==" in line]


def wheels(venv: str, pins: list[str], python: str, machine: str) -> Iterator[tuple[str, str]]:
    """(NAME==VERSION, SHA-256) of the wheel that PyPI has of each pin for that machine."""
    by_name = {normal(pin.partition("==")[0]): pin for pin in pins}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        platforms = [f"--platform=manylinux_{m}_{machine}" for m in MANYLINUX if m != "2014"]
        platforms.append(f"--platform=manylinux2014_{machine}")
        command = [
            *(f"{venv}/bin/pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
            *("--no-deps", "--only-binary=:all:", f"--target={folder}"),
            *(f"--python-version={python}", *platforms, f"--report={report}", *pins),
        ]
        subprocess.run(command, env=plain_environment(), check=True)
        for one in json.loads(report.read_text())["install"]:
            name = normal(one["metadata"]["name"])
            yield by_name[name], one["download_info"]["archive_info"]["hashes"]["sha256"]


def plain_environment() -> dict[str, str]:
    """Without this machine's mirrors and files, whose wheels others do not have."""
    mirrors = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT")
    kept = {name: value for name, value in os.environ.items() if name not in mirrors}
    return {**kept, "PIP_CONFIG_FILE": os.devnull}


def normal(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(*sys.argv[1:])
