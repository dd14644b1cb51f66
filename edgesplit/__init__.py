"""EdgeSplit: one PyTorch model across several unequal machines, cut where it costs least.

Names are imported when they are first used: a scheduler process, `--help` and a tier without torch
need no torch. Those that do raise NotInstalledError where the extra `full` is not installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgesplit.extras import needs_full

if TYPE_CHECKING:
    from edgesplit.api import EdgeSplit
    from edgesplit.config import EMBEDDED_EMULATION, Config, load_power
    from edgesplit.core.explain import Explanation
    from edgesplit.core.goal import Goal
    from edgesplit.core.graph import Graph
    from edgesplit.core.plan import Plan, Stage, parse_plan, plan_along
    from edgesplit.core.power import Power
    from edgesplit.core.profile import Link, Profile, Tier
    from edgesplit.errors import EdgeSplitError
    from edgesplit.node.allocator import ALLOCATOR_ENV
    from edgesplit.node.emulate import Emulation, LinkShape
    from edgesplit.node.images import load_image
    from edgesplit.node.security import InsecureTransportWarning
    from edgesplit.node.zoo import load_model
    from edgesplit.workloads import InfeasibleGoalWarning

__version__ = "0.1.0"
_HOMES = {
    "edgesplit.api": ("EdgeSplit",),
    "edgesplit.config": ("EMBEDDED_EMULATION", "Config", "load_power"),
    "edgesplit.core.explain": ("Explanation",),
    "edgesplit.core.goal": ("Goal",),
    "edgesplit.core.graph": ("Graph",),
    "edgesplit.core.plan": ("Plan", "Stage", "parse_plan", "plan_along"),
    "edgesplit.core.power": ("Power",),
    "edgesplit.core.profile": ("Link", "Profile", "Tier"),
    "edgesplit.errors": ("EdgeSplitError",),
    "edgesplit.node.allocator": ("ALLOCATOR_ENV",),
    "edgesplit.node.emulate": ("Emulation", "LinkShape"),
    "edgesplit.node.images": ("load_image",),
    "edgesplit.node.security": ("InsecureTransportWarning",),
    "edgesplit.node.zoo": ("load_model",),
    "edgesplit.workloads": ("InfeasibleGoalWarning",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "ALLOCATOR_ENV",
    "EMBEDDED_EMULATION",
    "Config",
    "EdgeSplit",
    "EdgeSplitError",
    "Emulation",
    "Explanation",
    "Goal",
    "Graph",
    "InfeasibleGoalWarning",
    "InsecureTransportWarning",
    "Link",
    "LinkShape",
    "Plan",
    "Power",
    "Profile",
    "Stage",
    "Tier",
    "load_image",
    "load_model",
    "load_power",
    "parse_plan",
    "plan_along",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgesplit' has no attribute {name!r}")
    with needs_full(name):
        return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
