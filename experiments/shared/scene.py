"""Where an experiment runs: the embedded cluster, or a Ray cluster of the user's own.

An experiment knows its tiers and links only through a scene, so that it runs on each unchanged.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from edgesplit import Config, EdgeSplit, Emulation, Goal, LinkShape, Profile, load_model
from edgesplit.errors import ConfigError
from edgesplit.testbed.rate import parse_rate


class Scene(Protocol):
    """Tiers, the links between them, and what may be claimed of figures from there.

    name: as --scene has it. address: the Ray cluster to join, None: as EdgeSplit finds it.
    provenance: one sentence on what is emulated, measured and modelled.
    can_shape: whether links can be held to a rate here.
    """

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str | None: ...

    @property
    def provenance(self) -> str: ...

    @property
    def can_shape(self) -> bool: ...

    def config(self) -> Config:
        """The settings of a session on this scene."""
        ...

    def attach(self, split: EdgeSplit) -> None:
        """Take the open session that is to run here. Raises ConfigError where it is elsewhere."""
        ...

    def shape(self, pair: str, rate: str) -> float:
        """Hold a link such as `edge-cloud` to a rate such as `5Mbit/s`, both ways.

        Returns time.perf_counter() when that is in force; raises ConfigError where it cannot be.
        """
        ...


class EmbeddedScene:
    """EdgeSplit's embedded cluster with its default emulation; one session at a time."""

    name = "embedded"
    address: str | None = None
    can_shape = True
    provenance = (
        "One machine plays all tiers: their speeds and the links are emulated, seconds are "
        "measured through that emulation, energy is modelled (watts x seconds)."
    )

    def __init__(self, is_nominal: bool = True) -> None:
        self._is_nominal = is_nominal
        self._split: EdgeSplit | None = None

    def config(self) -> Config:
        """The paper's testbed, as emulated here; plans in torch, measured as they are."""
        emulation = None if self._is_nominal else Emulation()
        return Config(emulation=emulation, runtimes=("torch",), fallback="none")

    def attach(self, split: EdgeSplit) -> None:
        """Shape this session's links from now on."""
        if not split.emulation.links:
            raise ConfigError(
                "scene embedded emulates tiers and links, but a real cluster was joined: "
                "`unset RAY_ADDRESS`, or use --scene cluster"
            )
        self._split = split

    def shape(self, pair: str, rate: str) -> float:
        """Change the emulation; the link keeps its latency."""
        if self._split is None:
            raise ConfigError("no session is attached to the scene; attach(split) comes first")
        links = self._split.emulation.links or {}
        source, _, target = pair.partition("-")
        old = links.get((source, target))
        if old is None:
            there = ", ".join("-".join(link) for link in links)
            raise ConfigError(f"no link {pair!r} is emulated; there are {there}")
        shape = LinkShape(parse_rate(rate), old.latency_s)
        self._split.emulate(self._split.emulation.with_link(source, target, shape))
        return time.perf_counter()


class ClusterScene:
    """The nodes of a Ray cluster that the user runs; its links are the user's to change."""

    name = "cluster"
    can_shape = False
    provenance = (
        "Tiers are nodes of a Ray cluster, nothing is emulated: seconds are measured, energy by "
        "the tiers' meters, or modelled (watts x seconds) where they have none."
    )

    def __init__(self, address: str | None) -> None:
        self.address = address

    def config(self) -> Config:
        """No emulation on a real cluster; plans in torch, measured as they are."""
        return Config(runtimes=("torch",), fallback="none")

    def attach(self, split: EdgeSplit) -> None:
        """See that it is a real cluster indeed."""
        if not split.emulation.is_off:
            raise ConfigError(
                "scene cluster needs a Ray cluster with a node per tier, but none is named: give "
                "--address HOST:PORT or set RAY_ADDRESS, or use --scene embedded"
            )

    def shape(self, pair: str, rate: str) -> float:
        """Always raises ConfigError: the links of real machines are not ours to throttle."""
        raise ConfigError(
            f"cannot hold {pair} to {rate}: the links of a real cluster are yours to change; use "
            "a scene whose links can be shaped"
        )


@contextmanager
def _embedded(address: str | None, is_nominal: bool) -> Iterator[Scene]:
    if address is not None:
        raise ConfigError("--address names a real cluster; use it with --scene cluster")
    yield EmbeddedScene(is_nominal)


@contextmanager
def _cluster(address: str | None, is_nominal: bool) -> Iterator[Scene]:
    yield ClusterScene(address)


@contextmanager
def _testbed(address: str | None, is_nominal: bool) -> Iterator[Scene]:
    if address is not None:
        raise ConfigError("the testbed has its own cluster; leave --address out")
    from experiments.shared.testbed_scene import testbed_scene

    with testbed_scene(is_nominal) as scene:
        yield scene


_OPENERS: dict[str, Callable[[str | None, bool], AbstractContextManager[Scene]]] = {
    "embedded": _embedded,
    "cluster": _cluster,
    "testbed": _testbed,
}
SCENES = tuple(_OPENERS)


def scene_named(
    name: str, address: str | None = None, is_nominal: bool = True
) -> AbstractContextManager[Scene]:
    """The scene of that name, for the length of a `with`. Raises ConfigError.

    is_nominal: with the nominal speeds and rates of what the scene emulates; else as fast as
    everything is. The testbed's runs the whole program on its host `end`, then exits.
    """
    if name not in _OPENERS:
        raise ConfigError(f"no scene {name!r}; there are {', '.join(SCENES)}")
    return _OPENERS[name](address, is_nominal)


@contextmanager
def session_on(
    scene: Scene,
    model: str,
    goal: Goal,
    runtimes: tuple[str, ...] = (),
    as_users_do: bool = False,
) -> Iterator[EdgeSplit]:
    """An open EdgeSplit of the named model, attached to the scene. Raises EdgeSplitError.

    runtimes: as in Config; empty: those of the scene's. as_users_do: requests fail over and are
    hedged, instead of measuring each plan as it is.
    """
    config = scene.config()
    if as_users_do:
        config = replace(config, fallback="anywhere")
    if runtimes:
        config = replace(config, runtimes=runtimes)
    split = EdgeSplit(load_model(model), goal, address=scene.address, config=config)
    with split:
        scene.attach(split)
        yield split


def wide_pairs(profile: Profile) -> list[str]:
    """The links into the last tier: it is far away, so all of them are the wide link."""
    far = profile.names[-1]
    return [f"{link.source}-{far}" for link in profile.links if link.target == far]
