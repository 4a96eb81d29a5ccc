"""The four kinds of targets of weight-space learning (arXiv 2602.01083, Def. 4.1), with examples of each."""

from graphws.targets.functionals import (
    accuracy,
    gram_norm,
    hessian_trace,
    mean_value,
    nearest_prototype,
    nuclear_norm,
    rank,
    weight_norm,
)
from graphws.targets.kinds import (
    EQUIVARIANT_OPERATOR,
    FUNCTION_FUNCTIONAL,
    FUNCTION_OPERATOR,
    INVARIANT_FUNCTIONAL,
    KINDS,
    Target,
    TargetKind,
)
from graphws.targets.named import named_target
from graphws.targets.operators import (
    gram_gradient,
    image_operation,
    keep_if_rank,
    loss_gradient,
    magnitude_mask,
    reflected_tiling,
    zoom_out,
)

__all__ = [
    "EQUIVARIANT_OPERATOR",
    "FUNCTION_FUNCTIONAL",
    "FUNCTION_OPERATOR",
    "INVARIANT_FUNCTIONAL",
    "KINDS",
    "Target",
    "TargetKind",
    "accuracy",
    "gram_gradient",
    "gram_norm",
    "hessian_trace",
    "image_operation",
    "keep_if_rank",
    "loss_gradient",
    "magnitude_mask",
    "mean_value",
    "named_target",
    "nearest_prototype",
    "nuclear_norm",
    "rank",
    "reflected_tiling",
    "weight_norm",
    "zoom_out",
]
