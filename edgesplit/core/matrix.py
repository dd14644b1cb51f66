"""Three tiers: every split (i, j) at once, for people to look at. The planner does not need it.

Payloads travel as they are.
"""

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.errors import ProfileError


def three_tier_matrix(model: CostModel) -> Array:
    """S(i, j), shape (n + 1, n + 1): the first tier runs [0, i), the second [i, j), the third the
    rest.

    A tier with nothing to do is skipped where a direct link exists, else it relays. NaN where
    j < i or links are missing. Limits are not looked at. Raises ProfileError without three tiers.
    """
    _check(model)
    return _splits(model.score(model.compute), model.score(model.transfer)[0])


def three_tier_latency(model: CostModel) -> Array:
    """L(i, j) in seconds, in the layout of three_tier_matrix. Raises ProfileError."""
    _check(model)
    return _splits(model.compute.latency_s, model.transfer.latency_s[0])


def _check(model: CostModel) -> None:
    names = model.profile.names
    if len(names) != 3:
        raise ProfileError(f"S(i, j) is for three tiers, given {len(names)}: {', '.join(names)}")


def _splits(stay: Array, move: Array) -> Array:
    """All (i, j) from prefix sums (3, n + 1) and hops (3, 3, n + 1)."""
    first, second, third = stay
    into, onward = first + move[0, 1] - second, second + move[1, 2] + third[-1] - third
    whole: Array = into[:, None] + onward[None, :]
    direct = np.where(np.isfinite(move[0, 2]), move[0, 2], move[0, 1] + move[1, 2])
    np.fill_diagonal(whole, first + direct + third[-1] - third)
    reach = np.where(np.isfinite(move[0, 1]), move[0, 1], move[0, 2] + move[2, 1])
    whole[:, -1] = first + reach + second[-1] - second
    whole[-1, -1] = first[-1]
    whole[np.tril_indices(len(whole), -1)] = np.nan
    whole[np.isinf(whole)] = np.nan
    return whole
