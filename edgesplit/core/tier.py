"""A tier as the planner sees it: seconds per layer in each of its runtimes, slowdown, power."""

import math
from dataclasses import dataclass, replace

from edgesplit.core.energy.metering import Metering
from edgesplit.core.power import Power
from edgesplit.core.row import NAME_HINT, TORCH, Row, is_runtime_name
from edgesplit.errors import ProfileError, UnknownNameError


@dataclass(frozen=True)
class Tier:
    """One tier: seconds per layer on the calibrated input, its slowdown now, its power.

    slowdown is the online ratio measured / profiled: 2.0 runs at half the profiled speed, in
    whatever runtime. metering: how the joules of its samples come about; None: as the power has it.
    layer_s, source and error are the row of `runtime`, the one in use; rows: those of the other
    runtimes, kept in order of their names. unused: runtimes that were wanted here and cannot be
    used, each with the reason, for people.
    """

    name: str
    layer_s: tuple[float, ...]
    power: Power
    slowdown: float = 1.0
    source: str = "given"
    metering: Metering | None = None
    runtime: str = TORCH
    error: float | None = None
    rows: tuple[Row, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(s) and s >= 0 for s in self.layer_s):
            raise ProfileError(f"tier {self.name!r}: layer seconds must be finite and >= 0")
        if not (math.isfinite(self.slowdown) and self.slowdown > 0):
            raise ProfileError(f"tier {self.name!r}: slowdown must be > 0, given {self.slowdown}")
        if not is_runtime_name(self.runtime):
            raise ProfileError(f"tier {self.name!r}: no runtime {self.runtime!r}; {NAME_HINT}")
        if self.rows:
            self._check_rows()
            rows = tuple(sorted(self.rows, key=lambda row: row.runtime))
            object.__setattr__(self, "rows", rows)

    def _check_rows(self) -> None:
        if len(set(self.runtimes)) != len(self.runtimes):
            raise ProfileError(f"tier {self.name!r}: a runtime has two rows: {self.runtimes}")
        for row in self.rows:
            if len(row.layer_s) != len(self.layer_s):
                raise ProfileError(
                    f"tier {self.name!r} has {len(self.layer_s)} layers, its row "
                    f"{row.runtime!r} {len(row.layer_s)}"
                )

    @property
    def meter(self) -> Metering:
        """How the joules of its samples come about."""
        return self.metering or Metering(self.power.scope, "modelled", self.power.source)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes it has rows of, first the one in use."""
        return (self.runtime, *(row.runtime for row in self.rows))

    @property
    def quickest_runtime(self) -> str:
        """The one that runs all layers in the least seconds; the one in use among equals."""
        return min(self.runtimes, key=lambda runtime: sum(self.layer_s_in(runtime)))

    def row(self, runtime: str) -> Row:
        """The row of that runtime. Raises UnknownNameError with the runtimes there are."""
        if runtime == self.runtime:
            return Row(self.runtime, self.layer_s, self.source, self.error)
        for row in self.rows:
            if row.runtime == runtime:
                return row
        raise UnknownNameError(
            f"tier {self.name!r} has no runtime {runtime!r}; it has {', '.join(self.runtimes)}"
        )

    def layer_s_in(self, runtime: str) -> tuple[float, ...]:
        """Profiled seconds per layer in that runtime. Raises UnknownNameError."""
        return self.layer_s if runtime == self.runtime else self.row(runtime).layer_s

    def on(self, runtime: str) -> "Tier":
        """The same tier with that row in use and the one in use now among the others.

        Raises UnknownNameError with the runtimes there are.
        """
        if runtime == self.runtime:
            return self
        row, old = self.row(runtime), self.row(self.runtime)
        rows = (*(other for other in self.rows if other.runtime != runtime), old)
        return replace(self._using(row), rows=rows)

    def with_row(self, row: Row) -> "Tier":
        """The same tier with that row added, or in the place of the one of its runtime.

        Raises ProfileError where its layer count is another one.
        """
        if row.runtime != self.runtime:
            rows = (*(old for old in self.rows if old.runtime != row.runtime), row)
            return replace(self, rows=rows, unused=self._unused_but(row.runtime))
        return self._using(row)

    def without_row(self, runtime: str) -> "Tier":
        """The same tier without that row; the quickest other one takes the place of the one in use.

        Raises UnknownNameError where it is not there, ProfileError where it is the only one.
        """
        if runtime == self.runtime:
            if not self.rows:
                raise ProfileError(f"tier {self.name!r} has no row but that of {runtime!r}")
            quickest = min(self.rows, key=lambda row: row.total_s)
            return self._using(quickest)
        row = self.row(runtime)
        return replace(self, rows=tuple(other for other in self.rows if other is not row))

    def without(self, runtime: str, why: str) -> "Tier":
        """The same tier with the reason why that runtime, which it has no row of, is not used."""
        if not why:
            return self
        return replace(self, unused=(*self._unused_but(runtime), (runtime, why)))

    def _unused_but(self, runtime: str) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in self.unused if pair[0] != runtime)

    def _using(self, row: Row) -> "Tier":
        """With `row` in use instead of the one in use now, which is gone."""
        return replace(
            self, layer_s=row.layer_s, source=row.source, runtime=row.runtime, error=row.error,
            rows=tuple(old for old in self.rows if old.runtime != row.runtime),
        )  # fmt: skip
