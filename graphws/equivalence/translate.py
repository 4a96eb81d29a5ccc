"""Parameters of one weight-space architecture compiled into another."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import nn

from graphws.equivalence.from_messages import network_of, own_architecture
from graphws.equivalence.from_sets import stack_of_sets
from graphws.equivalence.gmn_to_ng import needs_relay, ng_gnn_of_gmn
from graphws.equivalence.messages_to_stack import stack_of_messages
from graphws.equivalence.ng_to_gmn import gmn_of_ng_gnn, with_idle_state
from graphws.equivalence.rounds import MessageNetwork
from graphws.equivalence.stack import Stack
from graphws.equivalence.stack_to_messages import messages_of_stack
from graphws.equivalence.supported import NAMES, check_translatable, name_of
from graphws.equivalence.to_messages import gmn_of
from graphws.equivalence.to_sets import Written, dws_of, hnp_nfn_of, np_nfn_of
from graphws.equivalence.translation import TOLERANCE, Step, Translation, has_bias, largest
from graphws.models import GMN, Invariant
from graphws.models.common import channel_pair
from graphws.nn.readable import as_mlp
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Domain", "translate"]

Domain = float | NetGraph | Batch | Sequence[NetGraph]

DEFAULT_RADIUS = 1000.0
SETS = ("dws", "hnp-nfn", "np-nfn")


def translate(
    model: nn.Module,
    to: str,
    *,
    domain: Domain | None = None,
    architecture: Architecture | Sequence[int] | None = None,
    global_state: bool | None = None,
    sparse: bool | None = None,
) -> nn.Module:
    r"""A model of another architecture with the same function (arXiv 2602.01083, Theorem 5.2); it trains and saves.

    Arrows into DWS and HNP-NFN, and those between GMN and NG-GNN, hold on all of V; those out of the set-based models
    into NP-NFN, GMN and NG-GNN close gates that are built for \|v\| <= R. All are exact but for rounding. The result's
    attribute ``translation`` is a :class:`~graphws.equivalence.Translation` that says what holds where; it has been
    checked on random networks.

    Args:
        model: A DWS, HNPNFN, NPNFN or GMN of ReLU networks without normalisation (``norm=False``,
            ``activation="relu"``), or an :class:`~graphws.models.Invariant` around one, whose readout is kept. A GMN
            with ``new_ends`` is the paper's NG-GNN.
        to: ``"dws"``, ``"hnp-nfn"``, ``"np-nfn"``, ``"gmn"`` or ``"ng-gnn"``, a GMN with ``new_ends``.
        domain: R, or networks, whose largest value is R; 1000 where None. Read by arrows with gates alone.
        architecture: The architecture of the input networks, where ``model`` reads any and the arrow needs one.
        global_state: For ``to="gmn"``, whether it has one; where None, as the arrow goes in the fewest rounds.
        sparse: Whether the result's matrices are sparse; where None, if the dense ones had more than 4 million entries.

    Raises:
        ValueError: If the model cannot be translated exactly (the reason is said), ``to`` is unknown, the domain is
            empty, not finite or not positive, or an architecture is needed and missing.
    """
    if not isinstance(to, str) or to not in NAMES:
        raise ValueError(f"unknown target {to!r}; known: {', '.join(NAMES)}")
    if global_state is not None and to != "gmn":
        raise ValueError(f"global_state is an option of to='gmn', found to={to!r}")
    check_translatable(model)
    inner = model.model if isinstance(model, Invariant) else model
    like = next(inner.parameters())
    if like.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected parameters in float32 or float64, found {like.dtype}")
    route = _Route(inner, domain, architecture)
    written, step = route.write(to, global_state, sparse)
    holds_for = None if step.everywhere and route.free and to not in SETS else route.architecture
    translation = Translation(
        inner,
        written.model,
        step,
        holds_for,
        None if step.everywhere else route.radius,
        route.reason,
        written.arguments,
    )
    translation = replace(translation, error=_error(translation))
    result: nn.Module = written.model.to(like.device, like.dtype).train(inner.training)
    if isinstance(model, Invariant):
        _check_readout(translation)
        result = Invariant(result, model.out_channels)
        result.readout = copy.deepcopy(model.readout)
    result.translation = replace(translation, source=model, target=result)  # type: ignore[assignment]
    return result


def _error(translation: Translation) -> float:
    """The error on random networks.

    Raises:
        ValueError: If it is beyond rounding.
    """
    if translation.architecture is None:
        node, edge = _channels(translation.source)
        batch = random_batch(
            Architecture.mlp([2, 3, 2]), 4, channels=max(node, edge), generator=torch.Generator().manual_seed(0)
        )
        error = translation.check(batch.replace(batch.x[:, :node], batch.edge_attr[:, :edge]))
    else:
        error = translation.check(4)
    if not error <= 1000 * TOLERANCE:
        raise ValueError(f"the translation differs by {error:.1e} in float64: the model's numbers are out of its range")
    return error


def _check_readout(translation: Translation) -> None:
    """Refuse a readout of what set-based models do not write: values at nodes without a bias."""
    step, arch = translation.step, translation.architecture
    if arch is None or not translation.drops_nodes:
        return
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(arch, 4, channels=_channels(translation.source)[0], generator=generator)
    with torch.no_grad():
        out = copy.deepcopy(translation.source).double().eval()(batch)
    if bool((out.x[~has_bias(batch)] != 0).any()):
        raise ValueError(
            f"the readout reads what {step.source} writes at nodes without a bias, where {step.target} writes zero; "
            "translate the inner model and fit a readout of its own"
        )


def _channels(model: nn.Module) -> tuple[int, int]:
    return channel_pair(cast(int, model.in_channels))


class _Route:
    """What is known of a model and of the networks it reads, and the arrows from it."""

    def __init__(
        self, model: nn.Module, domain: Domain | None, architecture: Architecture | Sequence[int] | None
    ) -> None:
        self.model, self.name = model, name_of(model)
        found = model.architecture if self.name in SETS else own_architecture(cast(GMN, model))
        given = None if architecture is None else as_mlp(architecture, "a translation")
        self.radius, self.reason, seen = _bounded(domain)
        known = [arch for arch in (cast(Architecture | None, found), given, seen) if arch is not None]
        for other in known[1:]:
            same = other.widths == known[0].widths
            if not same or [g.has_bias for g in other.groups] != [g.has_bias for g in known[0].groups]:
                raise ValueError(f"the model, the architecture and the domain differ: {known[0]} and {other}")
        self.architecture = as_mlp(known[0], "a translation") if known else None
        self.free = found is None
        self.network = None if self.name in SETS else network_of(cast(GMN, model))

    @property
    def stack(self) -> Stack:
        """The model as a stack of affine maps."""
        if self.network is None:
            return stack_of_sets(self.model)  # type: ignore[arg-type]
        channels = self.network.in_channels
        if channels[0] != channels[1]:
            raise ValueError(f"set-based models read as many channels at nodes as at edges, this one reads {channels}")
        return stack_of_messages(self.network, self._needed("a set-based model is built for one"))

    def _needed(self, why: str) -> Architecture:
        if self.architecture is None:
            raise ValueError(f"{self.name} reads networks of any architecture, {why}: give architecture=")
        return self.architecture

    def write(self, to: str, global_state: bool | None, sparse: bool | None) -> tuple[Written, Step]:
        """The result and what there is to say of it."""
        if to in SETS:
            stack = self.stack
            if to == "np-nfn":
                written = np_nfn_of(stack, self.radius, sparse=sparse)
            else:
                written = (dws_of if to == "dws" else hnp_nfn_of)(stack, sparse=sparse)
            everywhere = to != "np-nfn"
        else:
            network, everywhere = self._messages(to, global_state)
            architecture = self.architecture if network.nodes.kind == "learned" else None
            written = gmn_of(network, architecture, sparse=sparse)
        entries = sum(int(torch.count_nonzero(p)) for p in written.model.parameters())
        layers = written.arguments["num_layers"] + (to in SETS)
        return written, Step(self.name, to, layers, written.arguments["hidden_channels"], entries, everywhere)

    def _messages(self, to: str, global_state: bool | None) -> tuple[MessageNetwork, bool]:
        """The rounds, and whether they hold on all of V."""
        if self.network is None:
            with_state = to == "gmn" and global_state is not False
            return self._gated(to, with_state), False
        if self.name == to == "ng-gnn":
            return self.network, True
        has_state = self.network.first_state is not None
        wanted = has_state if global_state is None else global_state
        if self.name == "ng-gnn":
            made = gmn_of_ng_gnn(self.network)
            return (with_idle_state(made) if wanted else made), True
        if to == "gmn" and has_state == wanted:
            return self.network, True
        if to == "gmn" and wanted:
            return with_idle_state(self.network), True
        if not needs_relay(self.network):
            local = ng_gnn_of_gmn(self.network, None)
        elif self.network.aggregation == "mean":
            depth = len(self._needed("and a global state is handed on through all of its layers").blocks)
            local, self.free = ng_gnn_of_gmn(self.network, depth), False
        else:  # sums of messages grow with the widths, so averages need gates
            return self._gated(to, False), False
        return (gmn_of_ng_gnn(local) if to == "gmn" else local), True

    def _gated(self, to: str, with_state: bool) -> MessageNetwork:
        return messages_of_stack(self.stack, self.radius, global_state=with_state, new_ends=to == "ng-gnn")


def _bounded(domain: Domain | None) -> tuple[float, str, Architecture | None]:
    """R, how it was bounded, and the architecture of the networks it was taken from."""
    if domain is None:
        return DEFAULT_RADIUS, "no domain was given", None
    if isinstance(domain, int | float) and not isinstance(domain, bool):
        if not (math.isfinite(domain) and domain > 0):
            raise ValueError(f"expected a finite radius above 0 as the domain, found {domain}")
        return float(domain), "as given", None
    if isinstance(domain, list | tuple) and not domain:
        raise ValueError("expected a radius or networks as the domain, found an empty list")
    batch = Batch.from_graphs(list(domain)) if isinstance(domain, list | tuple) else Batch.of(domain)
    highest = largest(batch.x, batch.edge_attr)
    if not math.isfinite(highest):
        raise ValueError("the networks given as the domain have NaN or infinite weights")
    architecture = batch.structure  # one architecture, or an error that names them
    return highest or 1.0, f"the largest value of {batch.num_graphs} networks", architecture
