"""What a state dict holds where it is no chain of layers: one sentence each, what it is and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["ASSUME", "MODULE", "known_kind"]

MODULE = "convert the module: conversions.to_graph(module) in Python, --module PKG.MOD:FACTORY on the command line"
ASSUME = "if it is one chain all the same, say so: assume_chain=True in Python, --assume-chain on the command line"
AGAIN = "on the layers of the module, then take its state dict again"
KINDS: tuple[tuple[str, str], ...] = (  # keys that a kind of layer leaves, and the sentence on it
    (
        r"(?:^|\.)(weight|bias)_(ih|hh|hr)(_l\d+)?(_reverse)?$",
        "belongs to a recurrent cell (LSTM, GRU or RNN), which runs once per step; graphs have no recurrent cells, so "
        "convert the feed-forward parts of the network by themselves",
    ),
    (
        r"(?:^|\.)(in_proj_(weight|bias)|[qkv]_proj_weight|bias_[kv])$",
        "belongs to an attention layer, which multiplies signals with one another; graphs have no attention, so "
        "convert the other parts of the network by themselves",
    ),
    (
        r"(weight|bias)_mask$",
        f"is the mask of a pruned tensor; call torch.nn.utils.prune.remove(layer, 'weight') {AGAIN}",
    ),
    (
        r"(?:^|[._])weight_u$",
        f"is what a weight is computed from (spectral norm); call torch.nn.utils.remove_spectral_norm(layer) {AGAIN}",
    ),
    (
        r"(?:^|[._])weight_g$",
        f"is the norm of a weight kept apart (weight norm); call torch.nn.utils.remove_weight_norm(layer) {AGAIN}",
    ),
    (
        r"(?:^|\.)parametrizations\.(?P<name>\w+)\.",
        "is what a weight is computed from (a parametrization, as weight norm); call "
        f"torch.nn.utils.parametrize.remove_parametrizations(layer, {{name!r}}) {AGAIN}",
    ),
    (
        r"(?:^|[._])weight_(orig|v)$",
        f"is what a weight is computed from, and what computes it is not in the state dict; {MODULE}",
    ),
    (
        r"lora_",
        "is a part of a low-rank update that stands beside a weight; merge the update into the weight first "
        f"(merge_and_unload() of peft), or {MODULE}",
    ),
    (
        r"(?i)(?:^|[._])(\w*embeddings?|embed_tokens|wte|wpe|emb|pos_embed)(\.weight)?$",
        f"is an embedding, a table whose rows are looked up, and no layer; {MODULE}",
    ),
)


def known_kind(keys: Iterable[str]) -> str | None:
    """A sentence on the first key that a kind of layer leaves which is no linear layer, convolution or batch norm.

    Args:
        keys: The keys of the state dict.
    """
    keys = list(keys)
    for pattern, sentence in KINDS:
        found = next(((key, match) for key in keys if (match := re.search(pattern, key))), None)
        if found is not None:
            return f"{found[0]!r} {sentence.format(**found[1].groupdict())}"
    return None
