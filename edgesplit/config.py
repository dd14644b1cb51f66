"""Settings of a session, and the files they come from. Nothing is read before it is asked for."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgesplit.core.power import Power
from edgesplit.errors import ConfigError, ProfileError, UnknownNameError
from edgesplit.node.emulate import Emulation, LinkShape
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.security import TLS, TRANSPORT_SECURITY
from edgesplit.node.wire import DEFAULT_MAX_FRAME_BYTES, LONGEST_TIMEOUT_S

TIERS = ("end", "edge", "cloud")
RUNTIMES = ("torch", "torch-channels-last", "onnx", "compile", "cuda")
DEFAULT_RUNTIMES = ("torch", "onnx")
_PHASES = ("compute", "transmit", "receive", "wait")
_DEFAULT_POWER = Path(__file__).with_name("power.toml")

# The embedded cluster plays the paper's testbed: a Pi 5 runs these models 4 to 6 times slower than
# one core of a PC; the laptop's 3 is assumed, so that each tier is worth using while links are
# good. Links are the paper's 40 MB/s, in a chain.
EMBEDDED_EMULATION = Emulation(
    slowdown={"end": 5.0, "edge": 3.0, "cloud": 1.0},
    links={
        ("end", "edge"): LinkShape(40e6, 0.001),
        ("edge", "end"): LinkShape(40e6, 0.001),
        ("edge", "cloud"): LinkShape(40e6, 0.002),
        ("cloud", "edge"): LinkShape(40e6, 0.002),
    },
)


@dataclass(frozen=True)
class Config:
    """How a session runs; every field has a default.

    tiers: names, first the one that holds the input. threads: torch threads per tier, None: 1 on
    the embedded cluster, elsewhere as many as Ray was told that the node has CPUs. emulation:
    None: the default emulation on the embedded cluster, none elsewhere; Emulation() switches it
    off. power_file: watts per tier and phase, None: the file that ships. meters: which meter counts
    a tier's joules, by the names of `edgesplit meters`; a tier left out: `auto`, the best that its
    host has; `model` reads none and takes the power file's watts. runtimes: what segments may
    be run in, each measured on every tier that has it and chosen with the plan: torch,
    torch-channels-last, onnx, compile, cuda; names for all tiers, or names per tier; torch left
    out: only where nothing else runs; None: torch, and onnx where it is installed. tolerance:
    relative difference from eager torch above which a runtime is not used; exact: only
    bit-identical ones, with runtimes=None torch alone. interval_s: between two looks at the plan
    while nothing changes. timeout_s: of a request, unless the call has its own. finish:
    `anywhere`, where a tier that fails is done without, on another one or in the caller's process;
    `planned`, which makes that an error, for measuring a plan as it is. in_flight: requests that
    map() has under way at once. transport_security: `tls`: payloads are encrypted, and only who has
    the session's key may talk to a tier; `none`: neither, with a warning.
    """

    tiers: tuple[str, ...] = TIERS
    threads: int | None = None
    emulation: Emulation | None = None
    power_file: Path | str | None = None
    meters: Mapping[str, str] = field(default_factory=dict)
    runtimes: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    tolerance: float = 1e-4
    exact: bool = False
    interval_s: float = 1.0
    timeout_s: float = 60.0
    finish: Literal["anywhere", "planned"] = "anywhere"
    start_timeout_s: float = 120.0
    in_flight: int = 6
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    transport_security: str = TLS

    def __post_init__(self) -> None:
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise ConfigError(f"tiers must be different names, given {self.tiers}")
        for name in ("interval_s", "timeout_s", "start_timeout_s", "in_flight", "max_frame_bytes"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and value > 0):
                raise ConfigError(f"{name} must be a number above 0, given {value!r}")
        if self.finish not in ("anywhere", "planned"):
            raise ConfigError(f"finish is anywhere or planned, given {self.finish!r}")
        if self.timeout_s > LONGEST_TIMEOUT_S:
            raise ConfigError(f"timeout_s is at most {LONGEST_TIMEOUT_S:g}, given {self.timeout_s}")
        self.check_tiers("meters", self.meters)
        self._check_runtimes()
        if self.transport_security not in TRANSPORT_SECURITY:
            known = ", ".join(TRANSPORT_SECURITY)
            raise UnknownNameError(
                f"transport_security is one of {known}, given {self.transport_security!r}"
            )
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be 1 or more, or None, given {self.threads}")

    def check_tiers(self, field_name: str, given: Iterable[str]) -> None:
        """Raise UnknownNameError for a name that is no tier's."""
        for tier in given:
            if tier not in self.tiers:
                known = ", ".join(self.tiers)
                raise UnknownNameError(f"{field_name}: no tier {tier!r}; known: {known}")

    def _check_runtimes(self) -> None:
        if isinstance(self.runtimes, Mapping):
            self.check_tiers("runtimes", self.runtimes)
        if isinstance(self.runtimes, str):
            raise ConfigError(f"runtimes are several names, given {self.runtimes!r}: use a tuple")
        for tier in self.tiers:
            named = self.runtimes_of(tier)
            if not named or isinstance(named, str) or any(name not in RUNTIMES for name in named):
                raise UnknownNameError(f"runtimes are {', '.join(RUNTIMES)}, given {self.runtimes}")

    @property
    def wanted_runtimes(self) -> tuple[str, ...]:
        """Those that any tier is to be measured in, torch first."""
        named = {name for tier in self.tiers for name in self.runtimes_of(tier)}
        return tuple(name for name in RUNTIMES if name in named)

    def pinned(self, runtime: str | Mapping[str, str]) -> "Config":
        """The same with one runtime for all tiers, or one for each that is named."""
        if isinstance(runtime, str):
            return replace(self, runtimes=(runtime,))
        return replace(self, runtimes={tier: (name,) for tier, name in runtime.items()})

    @property
    def leaves_torch_out(self) -> bool:
        """Whether a tier is to run in other runtimes than torch only."""
        return any(RUNTIMES[0] not in self.runtimes_of(tier) for tier in self.tiers)

    def runtimes_of(self, tier: str) -> Sequence[str]:
        """What that tier's segments may be run in."""
        default = RUNTIMES[:1] if self.exact else DEFAULT_RUNTIMES
        if isinstance(self.runtimes, Mapping):
            return self.runtimes.get(tier, default)
        return default if self.runtimes is None else self.runtimes

    @property
    def exactness(self) -> Exactness:
        """How far a runtime's results may lie from eager torch's."""
        return Exactness(self.tolerance, self.exact)

    def power(self) -> dict[str, Power]:
        """Watts of each tier. Raises ConfigError where the file lacks one."""
        path = Path(self.power_file) if self.power_file is not None else _DEFAULT_POWER
        known = load_power(path)
        for tier in self.tiers:
            if tier not in known:
                raise ConfigError(
                    f"{path} has no watts for tier {tier!r} (it has {', '.join(known)}); add a "
                    f"section [{tier}] with {', '.join(_PHASES)}"
                )
        return {tier: known[tier] for tier in self.tiers}


def load_power(path: Path) -> dict[str, Power]:
    """Watts per tier from a TOML file of sections [TIER] with compute, transmit, receive, wait.

    Raises ConfigError naming the file and what is wrong in it.
    """
    try:
        sections = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the power file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    return {tier: _power(path, tier, values) for tier, values in sections.items()}


def _power(path: Path, tier: str, values: object) -> Power:
    if not isinstance(values, dict) or set(values) != set(_PHASES):
        raise ConfigError(
            f"{path}: section [{tier}] must hold exactly {', '.join(_PHASES)} in watts, "
            f"given {values!r}"
        )
    try:
        compute_w, transmit_w, receive_w, wait_w = (float(values[phase]) for phase in _PHASES)
        return Power(compute_w, transmit_w, receive_w, wait_w, source=path.name)
    except (TypeError, ValueError, ProfileError) as error:
        raise ConfigError(f"{path}: section [{tier}]: {error}") from error
