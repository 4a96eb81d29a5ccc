"""The symmetries of input networks: permutations, signs and scales, orbits, canonical forms, alignment."""

from graphws.symmetry.canonical import CanonicalForm, canonical_form, canonize
from graphws.symmetry.permutations import GroupElement, Symmetry, act_each, permute
from graphws.symmetry.same_orbit import SameOrbit, same_orbit
from graphws.symmetry.scaling import Scaling

__all__ = [
    "CanonicalForm",
    "GroupElement",
    "SameOrbit",
    "Scaling",
    "Symmetry",
    "act_each",
    "canonical_form",
    "canonize",
    "permute",
    "same_orbit",
]
