"""What options of several commands take: numbers in their range, and options shared by commands."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from edgesplit.core.policies.published import PUBLISHED

_Command = TypeVar("_Command", bound=Callable[..., Any])
LONGEST_S = 1e6  # some eleven days: no clock or wait of Python's overflows


class Finite(click.FloatRange):
    """A number in a range; infinity and NaN, which Python reads too, are none."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As FloatRange does; wrong usage for what is not finite."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return found


class Duration(click.ParamType):  # type: ignore[type-arg]  # of newer versions
    """A time such as 90s, 15m or 1h; a number alone is of seconds."""

    name = "time"
    _SECONDS: ClassVar = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Its seconds; wrong usage for what is no time above 0."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(value).lower())
        if found is None or found[2] not in self._SECONDS or not float(found[1]):
            self.fail(f"{value!r} is no time above 0, such as 90s, 15m or 1h", param, ctx)
        return min(LONGEST_S, float(found[1]) * self._SECONDS[found[2]])


class RuntimeName(click.ParamType):  # type: ignore[type-arg]  # of newer versions
    """One of the table's runtimes, which is not imported before it is asked for."""

    name = "runtime"

    def get_metavar(self, *where: Any, **named: Any) -> str | None:
        """All of them, for the help."""
        return self._choice().get_metavar(*where, **named)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Wrong usage for another name."""
        return self._choice().convert(value, param, ctx)

    def _choice(self) -> click.Choice:  # type: ignore[type-arg]
        from edgesplit.node.runtime.table import RUNTIMES

        return click.Choice(list(RUNTIMES))


class Colours(click.ParamType):  # type: ignore[type-arg]  # of newer versions
    """Three numbers, of red, green and blue."""

    name = "r,g,b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a tuple; wrong usage for other texts."""
        try:
            found = tuple(float(number) for number in value.split(","))
        except ValueError:
            found = ()
        if len(found) != 3 or not all(map(math.isfinite, found)):
            self.fail(f"{value!r}: expected three numbers, such as 0.5,0.5,0.5", param, ctx)
        return found


class Weights(click.ParamType):  # type: ignore[type-arg]  # of newer versions
    """As load_model takes them: what is no file is told before torch is loaded."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text; wrong usage for a file that is not there."""
        if value not in ("random", "pretrained") and not Path(value).is_file():
            self.fail(
                f"no file {value!r}; expected random, pretrained or the path of a state dict",
                param,
                ctx,
            )
        return value


class CodecName(click.ParamType):  # type: ignore[type-arg]  # of newer versions
    """One of the payload codecs, whose module is not imported before it is asked for."""

    name = "codec"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Wrong usage for another name."""
        from edgesplit.core.payload_codec import ALL_CODECS

        if value not in ALL_CODECS:
            self.fail(f"no codec {value!r}; there are {', '.join(ALL_CODECS)}", param, ctx)
        return value


SECONDS = Finite(0, LONGEST_S, min_open=True)
_GOAL = (
    click.option(
        "--end-energy",
        type=Finite(0, 1),
        default=0.6,
        show_default=True,
        help="Weight of the end tier's energy. The three weights sum to 1.",
    ),
    click.option(
        "--total-energy",
        type=Finite(0, 1),
        default=0.2,
        show_default=True,
        help="Weight of the energy of all tiers.",
    ),
    click.option(
        "--latency",
        type=Finite(0, 1),
        default=0.2,
        show_default=True,
        help="Weight of the latency.",
    ),
    click.option(
        "--latency-limit-ms",
        type=Finite(0, LONGEST_S * 1e3, min_open=True),
        help="Avoid plans that are slower than this, in milliseconds.",
    ),
    click.option(
        "--keep-layers",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Layers that stay on the end tier.",
    ),
    click.option(
        "--boundary",
        type=click.Choice(["marginal", "gross"]),
        default="marginal",
        show_default=True,
        help="Count the energy that a request causes (marginal), or that of waiting tiers too "
        "(gross).",
    ),
)


def runtime_option(default: str) -> Callable[[_Command], _Command]:
    """--runtime; default: the runtimes without it, for the help."""
    return click.option(
        "--runtime",
        "runtimes",
        multiple=True,
        type=RuntimeName(),
        help="A runtime that plans may use; give the option several times for several. Without it: "
        f"{default}.",
    )


transport_option = click.option(
    "--transport-security",
    type=click.Choice(["tls", "none"]),
    default="tls",
    show_default=True,
    help="tls encrypts payloads, and only this session can send data to its tiers.",
)
_SESSION = (
    click.option(
        "--policy",
        default="score",
        show_default=True,
        metavar="NAME",
        help="How the plan is chosen: score, fastest, random, TIER-only, a plan such as "
        f"'end:0-5 | edge:5-38', or a published policy: {', '.join(PUBLISHED)}.",
    ),
    click.option(
        "--address",
        help="The Ray cluster to join, host:port. Without it: RAY_ADDRESS, this host's cluster, or "
        "emulated tiers.",
    ),
    click.option("--power", metavar="FILE", help="TOML file of watts per tier and phase."),
    click.option(
        "--meter",
        "meters",
        metavar="TIER=METER",
        multiple=True,
        help="The meter that counts a tier's joules, as `edgesplit meters` names it there; `model` "
        "for none. Without it: the best of the host.",
    ),
    runtime_option("torch, and onnx where a host has it"),
    click.option(
        "--codec",
        "codecs",
        metavar="NAME",
        multiple=True,
        type=CodecName(),
        help="A codec that payloads may be written in: zstd, lz4, picture, which lose nothing; "
        "float16, bfloat16, int8, int8-channel, int4-channel; or one of these and +zstd or +lz4, "
        "as in int8+zstd. Give the option several times for several. Without it: the usual ones "
        "where a loss of accuracy is granted, else picture alone, where pictures are read from "
        "files.",
    ),
    click.option("--exact", is_flag=True, help="Use only runtimes that give torch's bits."),
    click.option(
        "--import",
        "imports",
        metavar="MODULE",
        multiple=True,
        help="A module that registers operators of the model; every tier imports it first.",
    ),
    transport_option,
    click.option(
        "--weights",
        type=Weights(),
        default="random",
        show_default=True,
        help="random (seed 0), pretrained (downloaded), or the file of a state dict.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text."),
)
_PICTURES = (
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        help="Refuse pictures of more pixels than this. Without it: 89478485, Pillow's limit.",
    ),
)


def session_options(command: _Command) -> _Command:
    """Those of a command that runs a model on pictures."""
    for option in reversed((*_PICTURES, *_GOAL, *_SESSION)):
        command = option(command)
    return command


def named_meters(texts: Sequence[str]) -> dict[str, str]:
    """TIER=METER as a mapping. Raises click.UsageError."""
    meters: dict[str, str] = {}
    for text in texts:
        tier, equals, meter = text.partition("=")
        if not (tier and equals and meter):
            raise click.UsageError(f"--meter {text!r}: expected TIER=METER, such as end=rapl")
        if tier in meters:
            raise click.UsageError(f"--meter {text!r}: tier {tier} is given {meters[tier]} already")
        meters[tier] = meter
    return meters
