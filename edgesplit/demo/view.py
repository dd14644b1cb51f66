"""What the user sees while the demo runs: a live panel on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgesplit.demo.outcome import DemoRequest, ModelRun

PLAIN_WIDTH = 130  # columns where stdout is no terminal, so that tables do not wrap
LINE_EVERY_S = 5.0
FRAMES_PER_S = 8.0
EMULATED = "tiers and links are emulated; energy is modelled (watts x seconds)"


@dataclass(frozen=True)
class Scene:
    """One moment of the demo. fraction: of the whole; rates of the edge-cloud link in bytes/s."""

    model: str
    phase: str
    fraction: float
    request: DemoRequest | None = None
    emulated_bytes_per_s: float | None = None
    believed_bytes_per_s: float | None = None


class View(Protocol):
    """Anything that shows scenes."""

    def show(self, scene: Scene) -> None:
        """Show this moment; cheap enough to be called after every request."""
        ...


class LiveView:
    """A panel that follows the last request; rich draws it a few times a second."""

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._began_s = time.monotonic()

    def show(self, scene: Scene) -> None:
        """Remember the scene for the next time the panel is drawn."""
        self._scene = scene

    def panel(self) -> Panel | Text:
        """What rich is to draw now."""
        if self._scene is None:
            return Text("starting")
        return _panel(self._scene, time.monotonic() - self._began_s)


class PlainView:
    """A line whenever the phase or the plan changes, and one every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[object, ...] = ()
        self._told_s = 0.0

    def show(self, scene: Scene) -> None:
        """Print a line if there is anything new."""
        plan = scene.request.plan if scene.request else None
        key, now_s = (scene.model, scene.phase, plan), time.monotonic()
        if key == self._told and now_s - self._told_s < LINE_EVERY_S:
            return
        self._told, self._told_s = key, now_s
        figures = "  ".join(text for name, text in _figures(scene) if name != "model")
        self._console.print(
            f"{scene.fraction:4.0%} {scene.model}: {figures}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@contextlib.contextmanager
def opened_view(console: Console, is_live: bool) -> Iterator[View]:
    """The live panel if wanted and possible, else plain lines."""
    if not (is_live and console.is_terminal):
        yield PlainView(console)
        return
    view = LiveView()
    with Live(get_renderable=view.panel, console=console, refresh_per_second=FRAMES_PER_S):
        yield view


def opened_console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _figures(scene: Scene) -> Iterator[tuple[str, str]]:
    yield "model", scene.model
    yield "now", scene.phase
    request = scene.request
    if request is None:
        return
    yield "plan", str(request.plan)
    if request.error:
        yield "last request", f"failed: {request.error}"
    else:
        yield "latency", f"{1e3 * (request.latency_s or 0):.0f} ms (emulated)"
        yield (
            "energy",
            f"{request.end_energy_j:.3f} J on the end, {request.total_energy_j:.3f} J on all tiers "
            "(modelled)",
        )
    yield (
        "edge-cloud link",
        f"{_rate(scene.emulated_bytes_per_s)} (emulated), "
        f"{_rate(scene.believed_bytes_per_s)} believed by the scheduler",
    )


def _panel(scene: Scene, passed_s: float) -> Panel:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", min_width=15)
    grid.add_column()
    for name, text in _figures(scene):
        grid.add_row(name, Text(text))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1.0, completed=scene.fraction, width=50),
        f"{scene.fraction:.0%} of the demo, {passed_s:.0f} s",
    )
    return Panel(Group(grid, Text(), bar), title="edgesplit demo", subtitle=EMULATED)


def _rate(bytes_per_s: float | None) -> str:
    return "unknown" if bytes_per_s is None else f"{bytes_per_s / 1e6:.3g} MB/s"


def results_table(runs: Sequence[ModelRun]) -> Table:
    """Static against adaptive, per model: means over all requests of a pass."""
    table = Table(
        title="Static against adaptive plan by turns, means per request", caption=EMULATED
    )
    table.add_column("model")
    table.add_column("figure")
    for name in ("static", "adaptive", "change"):
        table.add_column(name, justify="right")
    for name in ("switches", "failed", "max rel. error"):
        table.add_column(name, justify="right")
    for run in runs:
        for row in _rows(run):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(run: ModelRun) -> Iterator[tuple[str, ...]]:
    error = run.max_relative_error
    counts = (
        str(len(run.adaptive.switches)),
        f"{run.failed} of {len(run.requests)}",
        "-" if error is None else f"{error:.1e}",
    )
    yield (run.model, *_compared(run, "latency_s", "latency", "ms"), *counts)
    yield ("", *_compared(run, "end_energy_j", "end energy", "J"))
    yield ("", *_compared(run, "total_energy_j", "total energy", "J"))


def _compared(run: ModelRun, figure: str, name: str, unit: str) -> tuple[str, str, str, str]:
    """(name, static, adaptive, change) of one figure."""
    scale = 1e3 if unit == "ms" else 1.0
    values = run.static.mean(figure), run.adaptive.mean(figure)
    texts = ["-" if v is None else f"{v * scale:.4g} {unit}" for v in values]
    change = f"{values[1] / values[0] - 1:+.0%}" if values[0] and values[1] else "-"
    return name, *texts, change  # type: ignore[return-value]


def remarks(run: ModelRun) -> Iterator[str]:
    """What there is to say about how a model adapted, one sentence each."""
    if not run.adaptive.uses_link:
        yield (
            f"{run.model}: its best plan does not use the edge-cloud link, so throttling it "
            "changes nothing and no new plan is needed"
        )
        return
    yield _gain(run)
    for verb, state in (("throttle", "throttled"), ("restore", "restored")):
        seconds, count = run.adaptive.adaptation(state)  # type: ignore[arg-type]
        if seconds is None:
            yield f"{run.model}: no new plan after the {verb}"
        else:
            yield (
                f"{run.model}: on a new plan {count} requests after the {verb} "
                f"({seconds:.2f} s, in which the static plan had its turns too)"
            )


def _gain(run: ModelRun) -> str:
    """What adapting brought while the link was slow, in words."""
    parts = []
    for figure, name in (("latency_s", "latency"), ("end_energy_j", "energy of the end tier")):
        static, adaptive = (done.mean(figure, "throttled") for done in (run.static, run.adaptive))
        if static and adaptive:
            share = adaptive / static - 1
            parts.append(f"{abs(share):.0%} {'less' if share < 0 else 'more'} {name}")
    gained = " and ".join(parts) or "nothing that could be measured"
    return f"{run.model}: while the link was slow, adapting brought {gained} than the static plan"


def conclusion(runs: Sequence[ModelRun]) -> str:
    """The last line: what was real, emulated and modelled, and what failed."""
    failed, sent = (
        sum(counts) for counts in zip(*((r.failed, len(r.requests)) for r in runs), strict=True)
    )
    return (
        f"{sent - failed} of {sent} answers came back. Real: the models' layers, processes, "
        "sockets and answers. Emulated on this one machine: the tiers' speeds and the links. "
        "Modelled: energy, as watts x seconds."
    )
