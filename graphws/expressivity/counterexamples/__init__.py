"""Every counterexample of the theory: what it is, why it holds, and what a given model makes of it."""

from graphws.expressivity.counterexamples.operators import (
    EntryComparison,
    OperatorCounterexample,
    prop_7_3,
    prop_7_3_within,
)
from graphws.expressivity.counterexamples.pairs import NetworkPair, distinct_biases, prop_6_2, regular_pair
from graphws.expressivity.counterexamples.reflected import PiecesResult, ReluPieces, prop_7_1
from graphws.expressivity.counterexamples.running import SEPARATED, Model, Separation
from graphws.expressivity.counterexamples.separating import (
    attention_sum,
    attention_sum_closed_form,
    identity_attention,
    nft_pair,
    separating_dws,
    separator_value,
)

__all__ = [
    "SEPARATED",
    "EntryComparison",
    "Model",
    "NetworkPair",
    "OperatorCounterexample",
    "PiecesResult",
    "ReluPieces",
    "Separation",
    "attention_sum",
    "attention_sum_closed_form",
    "distinct_biases",
    "identity_attention",
    "nft_pair",
    "prop_6_2",
    "prop_7_1",
    "prop_7_3",
    "prop_7_3_within",
    "regular_pair",
    "separating_dws",
    "separator_value",
]
