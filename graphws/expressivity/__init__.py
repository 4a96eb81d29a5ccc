"""Expressivity of weight-space networks: general position, counterexamples, targets, the map of what is possible."""

from graphws import targets
from graphws.expressivity import counterexamples
from graphws.expressivity.auditing import Audit, audit
from graphws.expressivity.expressivity_map import ExpressivityMap, MapRow, expressivity_map
from graphws.expressivity.general_position import CRITERIA, GeneralPosition, Tie, general_position
from graphws.expressivity.quantisation import birthday, quantise, quantised_codes
from graphws.expressivity.separators import Separated, random_theta, separator
from graphws.symmetry import CanonicalForm, SameOrbit, canonical_form, canonize, same_orbit
from graphws.symmetry.refinement import Refinement, refine

map = expressivity_map  # graphws.expressivity.map()

__all__ = [
    "CRITERIA",
    "Audit",
    "CanonicalForm",
    "ExpressivityMap",
    "GeneralPosition",
    "MapRow",
    "Refinement",
    "SameOrbit",
    "Separated",
    "Tie",
    "audit",
    "birthday",
    "canonical_form",
    "canonize",
    "counterexamples",
    "expressivity_map",
    "general_position",
    "map",
    "quantise",
    "quantised_codes",
    "random_theta",
    "refine",
    "same_orbit",
    "separator",
    "targets",
]
