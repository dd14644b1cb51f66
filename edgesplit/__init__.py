"""EdgeSplit: one PyTorch model across several unequal machines, cut where it costs least."""

from edgesplit.api import EdgeSplit, InfeasibleGoalWarning
from edgesplit.config import EMBEDDED_EMULATION, Config, load_power
from edgesplit.core.explain import Explanation
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, Stage, parse_plan
from edgesplit.core.profile import Link, Power, Profile, Tier
from edgesplit.errors import EdgeSplitError
from edgesplit.node.emulate import Emulation, LinkShape
from edgesplit.node.images import load_image
from edgesplit.node.zoo import load_model

__all__ = [
    "EMBEDDED_EMULATION",
    "Config",
    "EdgeSplit",
    "EdgeSplitError",
    "Emulation",
    "Explanation",
    "Goal",
    "Graph",
    "InfeasibleGoalWarning",
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
]
__version__ = "0.1.0"
