"""What a command's options ask of a session, checked before torch is loaded: that takes seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgesplit.cli.options import named_meters

if TYPE_CHECKING:
    from torch import nn

    from edgesplit.caller.api import EdgeSplit
    from edgesplit.config import Config
    from edgesplit.core.goal import Goal


@dataclass(frozen=True)
class AskedSession:
    """The settings, valid. weights: as load_model takes them."""

    goal: "Goal"
    config: "Config"
    policy: str
    address: str | None
    weights: str

    def model(self, name: str) -> "nn.Module":
        """The model of that name with these weights. Raises as load_model()."""
        from edgesplit.caller.inputs.zoo import load_model

        return load_model(name, self.weights)

    def split(self, module: "nn.Module", examples: Iterable[Any] | None = None) -> "EdgeSplit":
        """A session of that model, not open yet."""
        from edgesplit.caller.api import EdgeSplit

        return EdgeSplit(
            module, self.goal, self.policy, self.address, self.config, examples=examples
        )


def asked_session(options: Mapping[str, Any]) -> AskedSession:
    """Of a command with session_options. Raises EdgeSplitError, click.UsageError."""
    from edgesplit.config import Config
    from edgesplit.core.policies.named import policy_named

    goal = _goal(options)
    config = Config(
        power_file=options["power"],
        meters=named_meters(options["meters"]),
        runtimes=options["runtimes"] or None,
        exact=options["exact"],
        codecs=options["codecs"] or None,
        imports=options["imports"],
        transport_security=options["transport_security"],
    )
    policy_named(options["policy"], config.tiers)
    return AskedSession(goal, config, options["policy"], options["address"], options["weights"])


def _goal(options: Mapping[str, Any]) -> "Goal":
    from edgesplit.core.goal import Goal

    limit_ms = options["latency_limit_ms"]
    return Goal(
        end_energy=options["end_energy"],
        total_energy=options["total_energy"],
        latency=options["latency"],
        latency_limit_s=None if limit_ms is None else limit_ms / 1e3,
        min_end_layers=options["keep_layers"],
        boundary=options["boundary"],
        max_accuracy_loss=options.get("max_accuracy_loss"),
    )
