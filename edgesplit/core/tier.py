"""A tier as the planner sees it: seconds per layer in each of its runtimes, slowdown, power."""

from dataclasses import dataclass, replace

from edgesplit.core.energy.metering import Metering
from edgesplit.core.fleet.pressure import NO_PRESSURE, Pressure
from edgesplit.core.given import is_finite, is_name
from edgesplit.core.layer_times import NAME_HINT, TORCH, LayerTimes, are_seconds, is_runtime_name
from edgesplit.core.payload_codec import CodecSpeed
from edgesplit.core.power import Power
from edgesplit.core.scatter import Scatter
from edgesplit.errors import ProfileError, UnknownNameError


@dataclass(frozen=True)
class Tier:
    """One tier: seconds per layer of the profiled input, its slowdown now, its watts.

    layer_s, provenance and error belong to `runtime`, the one in use. error: the largest relative
        difference from eager torch; None: bit-identical, or not compared.
    slowdown: measured / profiled seconds; 2.0 is half the profiled speed, in any runtime.
    metering: how its joules are counted; None: from its power.
    layer_times: those of the other runtimes, sorted by name.
    unused: pairs of a runtime that cannot be used here and the reason.
    scatter: how its measured seconds lie around these times the slowdown; None: not at all.
    pressure: of others' work, heat and memory on its host; a goal's weights make it a price.
    codec_speeds: of the codecs that it can write and read payloads in.
    loss: of `runtime`, as in LayerTimes.

    Raises ProfileError for a value of the wrong kind or out of range.

    Example:
        >>> sum(Tier("end", (0.25, 0.5), Power(12, 12, 12, 12)).layer_s)
        0.75
    """

    name: str
    layer_s: tuple[float, ...]
    power: Power
    slowdown: float = 1.0
    provenance: str = "given"
    metering: Metering | None = None
    runtime: str = TORCH
    error: float | None = None
    layer_times: tuple[LayerTimes, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    scatter: Scatter | None = None
    pressure: Pressure = NO_PRESSURE
    codec_speeds: tuple[CodecSpeed, ...] = ()
    loss: float | None = None

    def __post_init__(self) -> None:
        if not (is_name(self.name) and isinstance(self.power, Power)):
            raise ProfileError(f"a tier has a name and Power, given {self.name!r}, {self.power!r}")
        if not are_seconds(self.layer_s):
            raise ProfileError(f"tier {self.name!r}: layer seconds must be finite and >= 0")
        if not (is_finite(self.slowdown) and self.slowdown > 0):
            raise ProfileError(f"tier {self.name!r}: slowdown must be > 0, given {self.slowdown}")
        if not is_runtime_name(self.runtime):
            raise ProfileError(f"tier {self.name!r}: no runtime {self.runtime!r}; {NAME_HINT}")
        speeds = [speed.codec for speed in self.codec_speeds]
        if len(set(speeds)) != len(speeds):
            raise ProfileError(f"tier {self.name!r}: a codec has speeds twice: {speeds}")
        if self.layer_times:
            self._check_rows()
            layer_times = tuple(sorted(self.layer_times, key=lambda times: times.runtime))
            object.__setattr__(self, "layer_times", layer_times)

    def _check_rows(self) -> None:
        if len(set(self.runtimes)) != len(self.runtimes):
            raise ProfileError(
                f"tier {self.name!r}: a runtime has layer times twice: {self.runtimes}"
            )
        for times in self.layer_times:
            if len(times.layer_s) != len(self.layer_s):
                raise ProfileError(
                    f"tier {self.name!r} has {len(self.layer_s)} layers, its layer times in "
                    f"{times.runtime!r} {len(times.layer_s)}"
                )

    @property
    def meter(self) -> Metering:
        """How its joules are counted."""
        return self.metering or Metering(self.power.scope, "modelled", self.power.provenance)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that it has layer times of, first the one in use."""
        return (self.runtime, *(times.runtime for times in self.layer_times))

    @property
    def quickest_runtime(self) -> str:
        """The one that runs all layers in the least seconds; the one in use among equals.

        Of those that lose nothing, where there is one.
        """
        exact = [runtime for runtime in self.runtimes if self.loss_in(runtime) is None]
        return min(exact or self.runtimes, key=lambda runtime: sum(self.layer_s_in(runtime)))

    def times_in(self, runtime: str) -> LayerTimes:
        """Layer times in that runtime. Raises UnknownNameError with the runtimes that it has."""
        if runtime == self.runtime:
            return LayerTimes(self.runtime, self.layer_s, self.provenance, self.error, self.loss)
        for times in self.layer_times:
            if times.runtime == runtime:
                return times
        raise UnknownNameError(
            f"tier {self.name!r} has no runtime {runtime!r}; it has {', '.join(self.runtimes)}"
        )

    def layer_s_in(self, runtime: str) -> tuple[float, ...]:
        """Profiled seconds per layer in that runtime. Raises UnknownNameError."""
        return self.layer_s if runtime == self.runtime else self.times_in(runtime).layer_s

    def loss_in(self, runtime: str) -> float | None:
        """The loss of that runtime, as in LayerTimes; None also for one that is not there."""
        if runtime == self.runtime:
            return self.loss
        return next((times.loss for times in self.layer_times if times.runtime == runtime), None)

    def codec_speed(self, codec: str) -> CodecSpeed | None:
        """What that codec takes here, None where the tier does not know it."""
        return next((speed for speed in self.codec_speeds if speed.codec == codec), None)

    def on(self, runtime: str) -> "Tier":
        """The same tier with that runtime in use.

        Raises UnknownNameError with the runtimes that it has.
        """
        if runtime == self.runtime:
            return self
        times, old = self.times_in(runtime), self.times_in(self.runtime)
        layer_times = (*(other for other in self.layer_times if other.runtime != runtime), old)
        return replace(self._using(times), layer_times=layer_times)

    def with_layer_times(self, times: LayerTimes) -> "Tier":
        """The same tier with those layer times added, or in place of those of the same runtime.

        Raises ProfileError where the number of layers differs.
        """
        if times.runtime != self.runtime:
            layer_times = (
                *(old for old in self.layer_times if old.runtime != times.runtime),
                times,
            )
            return replace(self, layer_times=layer_times, unused=self._unused_but(times.runtime))
        return self._using(times)

    def without_layer_times(self, runtime: str) -> "Tier":
        """The same tier without that runtime; if it was in use, the fastest other one is used, a
        lossy one only where no other is left.

        Raises UnknownNameError where it is not there, ProfileError where it is the only one.
        """
        if runtime == self.runtime:
            if not self.layer_times:
                raise ProfileError(
                    f"tier {self.name!r} has no layer times but those of {runtime!r}"
                )
            quickest = min(self.layer_times, key=lambda t: (t.loss is not None, t.total_s))
            return self._using(quickest)
        times = self.times_in(runtime)
        return replace(
            self, layer_times=tuple(other for other in self.layer_times if other is not times)
        )

    def without(self, runtime: str, why: str) -> "Tier":
        """The same tier with the reason why it cannot use that runtime."""
        if not why:
            return self
        return replace(self, unused=(*self._unused_but(runtime), (runtime, why)))

    def _unused_but(self, runtime: str) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in self.unused if pair[0] != runtime)

    def _using(self, times: LayerTimes) -> "Tier":
        """With `times` in use instead of those in use now, which are dropped."""
        others = tuple(old for old in self.layer_times if old.runtime != times.runtime)
        return replace(
            self, layer_s=times.layer_s, provenance=times.provenance, runtime=times.runtime,
            error=times.error, layer_times=others, loss=times.loss,
        )  # fmt: skip
