"""Search of the mix and the hyper-parameters: space, Ray Tune loop, surrogate, guideline.

`search_results(run)` gives Ray's own ResultGrid of a finished (or killed) search.
"""

from raytune_agents.tune.trial_tables import search_results

__all__ = ["search_results"]
