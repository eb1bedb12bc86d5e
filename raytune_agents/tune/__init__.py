"""Search of the mix and the hyper-parameters: space, Ray Tune loop, surrogate, guideline."""
