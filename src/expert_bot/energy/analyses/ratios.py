"""Division where the divisor may be nothing."""

from __future__ import annotations

import numpy as np

from expert_bot.energy.curve import Bools, Floats


def ratios(part: Floats, whole: Floats, *, where: Bools, otherwise: float) -> Floats:
    """Return `part / whole` where `where` is true, elsewhere `otherwise`; shapes broadcast, `where` has the result's."""
    result = np.full(where.shape, otherwise)
    np.divide(part, whole, out=result, where=where)
    return result
