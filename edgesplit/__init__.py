"""EdgeSplit: one PyTorch model across several unequal machines, cut where it costs least.

Names are imported when they are first used: a scheduler process, `--help` and a tier without torch
need no torch. Those that do raise NotInstalledError where the extra `full` is not installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgesplit.extras import needs_full

if TYPE_CHECKING:
    from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyWarning
    from edgesplit.caller.api import EdgeSplit
    from edgesplit.caller.data.open_data import open_data
    from edgesplit.caller.data.preprocessing import Preprocessing, with_preprocessing
    from edgesplit.caller.exports import TrainingModeWarning
    from edgesplit.caller.inputs.images import decode_image, load_image, read_image
    from edgesplit.caller.inputs.zoo import load_model
    from edgesplit.caller.workloads import InfeasibleGoalWarning
    from edgesplit.config import EMBEDDED_EMULATION, Config, load_power
    from edgesplit.core.explain import Explanation
    from edgesplit.core.goal import Goal
    from edgesplit.core.graph import Graph
    from edgesplit.core.plan import Plan, Stage, parse_plan, plan_along
    from edgesplit.core.policies.comparison import Comparison
    from edgesplit.core.power import Power
    from edgesplit.core.profile import Link, Profile, Tier
    from edgesplit.core.shadow.outcome import Regret
    from edgesplit.errors import EdgeSplitError
    from edgesplit.node.picture.preparation import IMAGENET_PREPARATION, Preparation
    from edgesplit.node.process.allocator import ALLOCATOR_ENV
    from edgesplit.node.program.export.model_watch import ModelChangedWarning
    from edgesplit.node.tier.emulate import Emulation, LinkShape
    from edgesplit.node.transport.security import InsecureTransportWarning

__version__ = "0.1.0"
_HOMES = {
    "edgesplit.caller.accuracy.accuracy_benchmark": ("AccuracyWarning",),
    "edgesplit.caller.api": ("EdgeSplit",),
    "edgesplit.config": ("EMBEDDED_EMULATION", "Config", "load_power"),
    "edgesplit.core.explain": ("Explanation",),
    "edgesplit.core.goal": ("Goal",),
    "edgesplit.core.graph": ("Graph",),
    "edgesplit.core.plan": ("Plan", "Stage", "parse_plan", "plan_along"),
    "edgesplit.core.policies.comparison": ("Comparison",),
    "edgesplit.core.power": ("Power",),
    "edgesplit.core.profile": ("Link", "Profile", "Tier"),
    "edgesplit.core.shadow.outcome": ("Regret",),
    "edgesplit.errors": ("EdgeSplitError",),
    "edgesplit.node.picture.preparation": ("IMAGENET_PREPARATION", "Preparation"),
    "edgesplit.node.process.allocator": ("ALLOCATOR_ENV",),
    "edgesplit.node.tier.emulate": ("Emulation", "LinkShape"),
    "edgesplit.caller.data.open_data": ("open_data",),
    "edgesplit.caller.data.preprocessing": ("Preprocessing", "with_preprocessing"),
    "edgesplit.caller.inputs.images": ("decode_image", "load_image", "read_image"),
    "edgesplit.node.program.export.model_watch": ("ModelChangedWarning",),
    "edgesplit.node.transport.security": ("InsecureTransportWarning",),
    "edgesplit.caller.inputs.zoo": ("load_model",),
    "edgesplit.caller.exports": ("TrainingModeWarning",),
    "edgesplit.caller.workloads": ("InfeasibleGoalWarning",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "ALLOCATOR_ENV",
    "EMBEDDED_EMULATION",
    "IMAGENET_PREPARATION",
    "AccuracyWarning",
    "Comparison",
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
    "ModelChangedWarning",
    "Plan",
    "Power",
    "Preparation",
    "Preprocessing",
    "Profile",
    "Regret",
    "Stage",
    "Tier",
    "TrainingModeWarning",
    "decode_image",
    "load_image",
    "load_model",
    "load_power",
    "open_data",
    "parse_plan",
    "plan_along",
    "read_image",
    "with_preprocessing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgesplit' has no attribute {name!r}")
    with needs_full(name):
        return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
