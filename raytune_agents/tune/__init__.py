"""Search of the mix and the hyper-parameters: space, Ray Tune loop, surrogate, guideline.

`results(run)` gives Ray's own ResultGrid of a finished (or killed) search.
"""

from raytune_agents.tune.tables import results

__all__ = ["results"]
