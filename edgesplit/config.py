"""Settings of a session, and the files they come from. Nothing is read before it is asked for."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np

from edgesplit.core.given import is_finite, names_in, number_above_0, whole_from_1
from edgesplit.core.goal import Goal
from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import ALL_CODECS, PICTURE, USUAL_CODECS, is_lossy
from edgesplit.core.plan import TIER_NAME_HINT, is_tier_name
from edgesplit.core.policies.policy import plays
from edgesplit.core.power import Power
from edgesplit.core.shown_fields import ShownFields
from edgesplit.errors import ConfigError, ProfileError, UnknownNameError
from edgesplit.node.meter.name import is_meter_name, meter_names
from edgesplit.node.process.imports import checked_names
from edgesplit.node.process.messages import warn
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.table import RUNTIMES
from edgesplit.node.tier.emulate import Emulation, LinkShape
from edgesplit.node.transport.security import TLS, TRANSPORT_SECURITY
from edgesplit.node.transport.wire import DEFAULT_MAX_FRAME_BYTES, LONGEST_TIMEOUT_S

TIERS = ("end", "edge", "cloud")
# Far above what is of use: so that a slip is told, and no counter overflows.
_MOST = {"threads": 1024, "max_stages": 64, "in_flight": 65_536, "max_frame_bytes": 1 << 47}
_WEIGHTS = {"low": 0.25, "normal": 1.0, "high": 4.0}  # by priority
_PHASES = ("compute", "transmit", "receive", "wait")
_DEFAULT_POWER = Path(__file__).with_name("power.toml")

_FALLBACKS = {"anywhere": "anywhere", "planned": "none"}  # what they were called up to 0.1

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
class Config(metaclass=ShownFields):
    """How a session runs. Every field has a default.

    Tiers and what they compute with
        tiers: roles of nodes, such as edge, or their names, such as edge-2. The first one holds the
            input: this program's own node, where that plays the role. Of each other role the
            nearest nodes are considered, at most 3. Default: end, edge, cloud.
        max_stages: tiers that a plan may visit at most, unless the goal says otherwise. Default: 4.
        threads: torch threads per tier. None: 1 on the embedded cluster, elsewhere the CPUs that
            Ray was told of.
        runtimes: what segments may run in: torch, torch-channels-last, onnx, onnx-int8, compile,
            cuda. Names for all tiers, or names by tier. Each is measured where it is installed and
            chosen with the plan; onnx-int8 only where a loss is granted. Without torch in it, torch
            runs only where nothing else does. None: torch, and onnx where it is installed.
        tolerance: largest relative difference from eager torch's results that a runtime may have,
            0 to 1. Default: 1e-4.
        exact: True: only runtimes with torch's bits; with runtimes=None torch alone. Default:
            False.
        codecs: how payloads may be written for links, such as ("int8-channel", "zstd"). None: the
            usual ones where the goal grants a loss of accuracy, else none. Those that lose
            nothing, zstd, lz4 and picture, need no grant where they are named; picture, the file
            that an input was read from by read_image(), is used without being named. Default: None.
        accuracy_checks: share of the requests along lossy plans that is also run exactly and
            compared, 0 to 1. Default: 0.005.
        mode: "eval": the model runs in eval mode; "as-is": each part runs in the mode it was left
            in, so that dropout in training mode drops. Default: "eval".
        imports: modules that register operators of the model; every tier imports them before it
            loads the model. Default: none.
        flush_denormals: True: numbers below some 1e-38 count as 0, which makes a layer that
            produces them up to 50 times faster. None: as in the thread that makes the EdgeSplit.

    Energy
        power_file: TOML file of watts per tier and phase. None: the one that ships.
        meters: by tier, the meter that counts its joules, as `edgesplit meters` names them.
            "model": none, watts of the power file. Tiers left out: "auto", the best of the host.

    Requests
        timeout_s: seconds that a request may take, unless the call says otherwise. Default: 60.
        fallback: "anywhere": when a tier fails, the tier that holds the payload, or this process,
            runs the remaining layers; "none": the request fails, for measuring a plan as it is.
            Default: "anywhere".
        hedge: largest share of requests whose layers may run twice: a tier that waits for the next
            one runs the rest itself too where the answer is late enough to be worth the joules,
            and the first answer counts; 0 to 1, 0: no request that is late is run anywhere but
            where it was planned. Default: 0.05.
        priority: "low", "normal" or "high": on a tier that others use too, a session's share of the
            computing is a quarter, one or four; where a tier is full, the lower one makes room
            first. Default: "normal".
        in_flight: requests that map() keeps under way. Default: 6.
        max_frame_bytes: bytes of the largest payload. Default: 256 MiB.
        transport_security: "tls": payloads are encrypted, and only holders of the session key can
            send data to a tier; "none": neither, with a warning. Default: "tls".

    The session
        emulation: slower tiers and links. None: the default emulation on the embedded cluster, none
            elsewhere; Emulation(): none anywhere.
        interval_s: seconds between two looks at the plan while nothing changes. Default: 1.
        start_timeout_s: seconds that tiers may take to start or to take a model. Default: 120.
        progress: True: a line on stderr says what a slow first answer waits for; False: nothing
            does. None: the line on terminals and in notebooks, elsewhere a log message.

        finish: deprecated; "anywhere" is fallback="anywhere", "planned" is fallback="none".

    Raises ConfigError or UnknownNameError for a value of the wrong kind or out of range.

    Example:
        >>> config = Config(runtimes=("torch",), timeout_s=5)
        >>> config.timeout_s
        5.0
    """

    tiers: tuple[str, ...] = TIERS
    max_stages: int = 4
    threads: int | None = None
    emulation: Emulation | None = None
    power_file: Path | str | None = None
    meters: Mapping[str, str] = field(default_factory=dict)
    runtimes: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    tolerance: float = 1e-4
    exact: bool = False
    codecs: Sequence[str] | None = None
    accuracy_checks: float = 0.005
    mode: Literal["eval", "as-is"] = "eval"
    interval_s: float = 1.0
    timeout_s: float = 60.0
    fallback: Literal["anywhere", "none"] = "anywhere"
    hedge: float = 0.05
    priority: Literal["low", "normal", "high"] = "normal"
    start_timeout_s: float = 120.0
    in_flight: int = 6
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    transport_security: str = TLS
    imports: Sequence[str] = ()
    flush_denormals: bool | None = None
    progress: bool | None = None
    finish: str | None = None

    def __post_init__(self) -> None:
        self._check_tier_names()
        for name in ("interval_s", "timeout_s", "start_timeout_s"):
            seconds = number_above_0(name, getattr(self, name), ConfigError, LONGEST_TIMEOUT_S)
            object.__setattr__(self, name, seconds)
        for name, most in _MOST.items():
            given = getattr(self, name)
            if name != "threads" or given is not None:
                object.__setattr__(self, name, whole_from_1(name, given, ConfigError, most))
        self._check_tolerance()
        self._take_old_name()
        if not (isinstance(self.fallback, str) and self.fallback in ("anywhere", "none")):
            raise ConfigError(f"fallback is anywhere or none, given {self.fallback!r}")
        if not (isinstance(self.mode, str) and self.mode in ("eval", "as-is")):
            raise ConfigError(f"mode is eval or as-is, given {self.mode!r}")
        if not (isinstance(self.priority, str) and self.priority in _WEIGHTS):
            raise ConfigError(f"priority is {', '.join(_WEIGHTS)}, given {self.priority!r}")
        checked_names(self.imports)
        for name in ("flush_denormals", "progress"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, bool):
                raise ConfigError(f"{name} is True, False or None, given {given!r}")
        security = self.transport_security
        if not (isinstance(security, str) and security in TRANSPORT_SECURITY):
            known = ", ".join(TRANSPORT_SECURITY)
            raise UnknownNameError(f"transport_security is one of {known}, given {security!r}")
        if not isinstance(self.power_file, (str, PathLike, NoneType)):
            raise ConfigError(f"power_file is a path or None, given {self.power_file!r}")
        self._check_emulation()
        self._check_meters()
        self._check_runtimes()

    def _take_old_name(self) -> None:
        """finish, as fallback was called up to 0.1."""
        if self.finish is None:
            return
        if not (isinstance(self.finish, str) and self.finish in _FALLBACKS):
            raise ConfigError(f"finish is anywhere or planned, given {self.finish!r}")
        warn("Config(finish=...) is Config(fallback=...) now", DeprecationWarning)
        object.__setattr__(self, "fallback", _FALLBACKS[self.finish])
        object.__setattr__(self, "finish", None)

    def _check_tier_names(self) -> None:
        tiers = names_in("tiers", self.tiers, ConfigError)
        if len(set(tiers)) != len(tiers):
            raise ConfigError(f"tiers must be different names, given {self.tiers}")
        wrong = [tier for tier in tiers if not is_tier_name(tier)]
        if wrong:
            raise ConfigError(f"a tier's name is {TIER_NAME_HINT}, given {wrong[0]!r}")
        object.__setattr__(self, "tiers", tiers)

    def _check_tolerance(self) -> None:
        if not (is_finite(self.tolerance) and 0 <= self.tolerance <= 1):
            raise ConfigError(
                f"tolerance is a relative difference from 0 to 1, given {self.tolerance!r}"
            )
        if not isinstance(self.exact, (bool, np.bool_)):
            raise ConfigError(f"exact is True or False, given {self.exact!r}")
        if not (is_finite(self.hedge) and 0 <= self.hedge <= 1):
            raise ConfigError(f"hedge is a share of requests from 0 to 1, given {self.hedge!r}")
        if not (is_finite(self.accuracy_checks) and 0 <= self.accuracy_checks <= 1):
            raise ConfigError(
                "accuracy_checks is a share of requests from 0 to 1, given "
                f"{self.accuracy_checks!r}"
            )
        if self.codecs is not None:
            object.__setattr__(self, "codecs", _known_codecs(self.codecs))
        object.__setattr__(self, "tolerance", float(self.tolerance))
        object.__setattr__(self, "hedge", float(self.hedge))

    def _check_emulation(self) -> None:
        if self.emulation is None:
            return
        if not isinstance(self.emulation, Emulation):
            raise ConfigError(
                f"emulation is an Emulation, or None for the default, given {self.emulation!r}"
            )
        self.check_tiers("emulation", self.emulation.tiers)

    def _check_meters(self) -> None:
        if not isinstance(self.meters, Mapping):
            raise ConfigError(f"meters are names by tier, given {self.meters!r}")
        self.check_tiers("meters", self.meters)
        for tier, name in self.meters.items():
            if not is_meter_name(name):
                raise UnknownNameError(
                    f"meters: tier {tier!r} cannot have {name!r}; known are "
                    f"{', '.join(meter_names())}, each also with :ARGUMENT, joined by +"
                )

    def named(self, roles: Mapping[str, str]) -> "Config":
        """The same with nodes for tiers: what is given for a role holds for each node of it.

        roles: by name of the node. Raises UnknownNameError for what is of neither.
        """
        if all(name == role for name, role in roles.items()):
            return self

        def by_name(given: Mapping[str, Any]) -> dict[str, Any]:
            known = {name: given.get(name, given.get(role)) for name, role in roles.items()}
            strange = {one: given[one] for one in given.keys() - {*roles, *roles.values()}}
            return {name: one for name, one in known.items() if one is not None} | strange

        runtimes = self.runtimes
        return replace(
            self,
            tiers=tuple(roles),
            meters=by_name(self.meters),
            runtimes=by_name(runtimes) if isinstance(runtimes, Mapping) else runtimes,
            emulation=None if self.emulation is None else self.emulation.named(roles),
        )

    def check_tiers(self, field_name: str, given: Iterable[str]) -> None:
        """Raise UnknownNameError for a name that is no tier's, nor of a node that plays one.

        Such a node's name begins with its tier's and a dash, unless `tiers` names it.
        """
        for tier in given:
            if not any(plays(str(tier), one) for one in self.tiers):
                known = ", ".join(self.tiers)
                raise UnknownNameError(f"{field_name}: no tier {tier!r}; known: {known}")

    def _check_runtimes(self) -> None:
        if isinstance(self.runtimes, Mapping):
            self.check_tiers("runtimes", self.runtimes)
        elif isinstance(self.runtimes, str):
            raise ConfigError(f"runtimes are several names, given {self.runtimes!r}: use a tuple")
        if self.runtimes is None:
            return
        by_tier = self.runtimes if isinstance(self.runtimes, Mapping) else {"": self.runtimes}
        for named in by_tier.values():
            is_several = isinstance(named, Iterable) and not isinstance(named, (str, Mapping))
            if not is_several or not list(named) or any(name not in RUNTIMES for name in named):
                raise UnknownNameError(
                    f"runtimes are several of {', '.join(RUNTIMES)}, for all tiers or by tier, "
                    f"given {self.runtimes!r}"
                )

    @property
    def hedge_share(self) -> float:
        """hedge; 0 where no tier may run another's layers."""
        return self.hedge if self.fallback == "anywhere" else 0.0

    @property
    def weight(self) -> float:
        """Of the session's share of a tier's computing, beside other sessions'."""
        return _WEIGHTS[self.priority]

    @property
    def wanted_runtimes(self) -> tuple[str, ...]:
        """Those that any tier is to be measured in, torch first."""
        named = {name for tier in self.tiers for name in self.runtimes_of(tier)}
        return tuple(name for name in RUNTIMES if name in named)

    def wanted_codecs(self, goal: Goal) -> tuple[str, ...]:
        """Those that payloads may be written in under that goal."""
        is_granted = goal.max_accuracy_loss is not None and not self.exact
        named = self.codecs
        if named is None:
            return USUAL_CODECS if is_granted else ()
        named = tuple(codec for codec in named if codec != PICTURE)
        return tuple(codec for codec in named if is_granted or not is_lossy(codec))

    @property
    def sends_pictures(self) -> bool:
        """Whether an input that is a picture's file may travel as such."""
        return self.codecs is None or PICTURE in self.codecs

    def pinned(self, runtime: str | Mapping[str, str]) -> "Config":
        """The same with one runtime for all tiers, or one for each that is named."""
        if isinstance(runtime, str):
            return replace(self, runtimes=(runtime,))
        if not isinstance(runtime, Mapping):
            raise ConfigError(f"runtime is a name, or names by tier, given {runtime!r}")
        return replace(self, runtimes={tier: (name,) for tier, name in runtime.items()})

    @property
    def leaves_torch_out(self) -> bool:
        """Whether a tier is to run in other runtimes than torch only."""
        return any(TORCH not in self.runtimes_of(tier) for tier in self.tiers)

    def runtimes_of(self, tier: str) -> Sequence[str]:
        """What that tier's segments may be run in."""
        named = self.runtimes
        if isinstance(named, Mapping):
            named = named.get(tier)
        if named is not None:
            return named
        usual = tuple(name for name, one in RUNTIMES.items() if one.is_default)
        return (TORCH,) if self.exact else usual

    @property
    def exactness(self) -> Exactness:
        """How far a runtime's results may lie from eager torch's."""
        return Exactness(self.tolerance, self.exact)

    def exactness_of(self, tier: str) -> Exactness:
        """The same for one tier's requests: where torch alone may run them, its bits are meant."""
        is_torch_alone = set(self.runtimes_of(tier)) == {TORCH}
        return Exactness(self.tolerance, self.exact or is_torch_alone)

    def power(self, roles: Mapping[str, str] | None = None) -> dict[str, Power]:
        """Watts of each tier, those of its role where it has none of its own.

        roles: by tier; None: as the tiers' names begin. Raises ConfigError where a tier has none.
        """
        path = Path(self.power_file) if self.power_file is not None else _DEFAULT_POWER
        known = load_power(path)
        by_name = {tier: known[role] for role in known for tier in self.tiers if plays(tier, role)}
        by_role = {tier: known[role] for tier, role in (roles or {}).items() if role in known}
        known = {**by_name, **by_role, **known}
        for tier in self.tiers:
            if tier not in known:
                raise ConfigError(
                    f"{path} has no watts for tier {tier!r} (it has {', '.join(known)}); add a "
                    f"section [{tier}] with {', '.join(_PHASES)}"
                )
        return {tier: known[tier] for tier in self.tiers}


def _known_codecs(given: object) -> tuple[str, ...]:
    """The names, each once. Raises ConfigError, UnknownNameError."""
    named = names_in("codecs", given, ConfigError) if given else ()
    for codec in named:
        if codec not in ALL_CODECS:
            raise UnknownNameError(f"codecs: no codec {codec!r}; known: {', '.join(ALL_CODECS)}")
    return tuple(dict.fromkeys(named))


def load_power(path: str | PathLike[str]) -> dict[str, Power]:
    """Watts by tier from a TOML file of sections [TIER] with compute, transmit, receive, wait.

    Raises ConfigError, which names the file and what is wrong in it.

    Example:
        >>> load_power("power.toml")["end"].compute_w
        6.5
    """
    if not isinstance(path, (str, PathLike)):
        raise ConfigError(f"a power file is named by its path, given {path!r}")
    path = Path(path)
    try:
        sections = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the power file {path}: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, no TOML, or a path that cannot be
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
        return Power(compute_w, transmit_w, receive_w, wait_w, provenance=path.name)
    except (TypeError, ValueError, ProfileError) as error:
        raise ConfigError(f"{path}: section [{tier}]: {error}") from error
