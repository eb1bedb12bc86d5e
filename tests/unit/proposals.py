"""Random proposals of a search space, without Ray."""

from raytune_agents.tune.simplex import Simplex


def draw(space, rng):
    out = {}
    for axis in space.axes:
        if isinstance(axis, Simplex):
            out |= {name: rng.random() for name in axis.names()}
        else:
            out |= axis.quantile(rng.random())
    return out
