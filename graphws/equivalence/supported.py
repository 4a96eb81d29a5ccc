"""Which models can be translated, and why others cannot."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from graphws.models import DWS, GMN, HNPNFN, NFT, NGGNN, NPNFN, Invariant

__all__ = ["NAMES", "check_translatable", "name_of"]

# ng-gnn: the plain neural graph network of arXiv 2602.01083, GMN with new_ends
NAMES: dict[str, type[nn.Module]] = {"dws": DWS, "hnp-nfn": HNPNFN, "np-nfn": NPNFN, "gmn": GMN, "ng-gnn": GMN}
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def name_of(model: nn.Module) -> str:
    """The name of a model's architecture.

    Raises:
        ValueError: If it is none that can be translated.
    """
    for name, known in NAMES.items():
        if type(model) is known:
            return "ng-gnn" if isinstance(model, GMN) and model.new_ends else name
    why = ""
    if isinstance(model, NFT):
        why = "; attention separates networks that message passing cannot (arXiv 2602.01083, Proposition 5.3)"
    if isinstance(model, NGGNN):
        why = (
            ", whose modulated messages multiply features, and whose statistics are no sums; "
            "GMN(new_ends=True) is the NG-GNN of arXiv 2602.01083"
        )
    known_names = ", ".join(sorted({found.__name__ for found in NAMES.values()}))
    raise ValueError(f"expected one of {known_names}, or Invariant around one; found {type(model).__name__}{why}")


def check_translatable(model: nn.Module) -> None:
    """Raise ValueError, with the reason, unless a model is a ReLU network whose function is fixed."""
    inner = model.model if isinstance(model, Invariant) else model
    name_of(inner)
    for path, module in model.named_modules():
        if isinstance(module, DROPOUTS) and module.training and module.p > 0:
            raise ValueError(f"dropout is active at {path}: the model is no function; call eval() first")
        if isinstance(module, BATCH_NORMS):
            what = "in training mode, so outputs depend on the batch" if module.training else "not part of these models"
            raise ValueError(f"batch normalisation at {path} is {what}; translate takes models without it")
    for path, tensor in inner.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"parameter {path} has NaN or infinite values")
    _check_pieces(inner)


def _check_pieces(model: nn.Module) -> None:
    """Refuse what is not piecewise linear."""
    if isinstance(model, DWS):
        if len(model.attentions):
            raise ValueError("attention multiplies features, which ReLU networks only approximate; expected 0 heads")
        if model.first.pool == "max":
            raise ValueError("expected pool='sum' or 'mean', found 'max': sums of messages give no maximum exactly")
    if isinstance(model, HNPNFN | NPNFN) and model.fourier is not None:
        raise ValueError(
            "Fourier features are sines, which ReLU networks only approximate; expected fourier_features=0"
        )
    norm = next((path for path, m in model.named_modules() if isinstance(m, nn.LayerNorm)), None)
    if norm is not None:
        raise ValueError(
            f"LayerNorm at {norm}: it divides by a root of squares, which ReLU networks with sums only approximate; "
            f"build {type(model).__name__} with norm=False"
        )
    if isinstance(model, GMN) and model.new_ends and model.first_state is not None:
        raise ValueError("expected global_state=False beside new_ends=True: no translation reads or writes both")
    if isinstance(model, GMN) and model.bias_nodes:
        raise ValueError("expected bias_nodes=False: bias nodes are layers of their own, which is not translated")
    for layer in getattr(model, "layers", []):
        if layer.activation is not F.relu:
            raise ValueError(
                "expected activation='relu', found another: the translation passes values on as relu(z) - relu(-z) = z "
                "and closes gates with relu(z - M) = 0, both exact for ReLU alone"
            )
