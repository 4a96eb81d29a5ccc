"""What the names of layers say: the words in them, and whether these are places in a chain."""

from __future__ import annotations

import re

from conversions.bare.layers import WEIGHT_WORD

__all__ = ["LAYERS", "LISTS", "Path", "branched", "letters_of", "numbers_of", "path_of", "place_of"]

Path = tuple[str, ...]

# words that say a layer stands beside others, or is no plain layer, whatever its shape
BRANCHED = re.compile(
    r"shortcut|downsample|skip|residual|res|resblocks?|resnet|resnext|identity|branch(es)?|attn|attention|qkv|squeeze"
    r"|excite|excitation|se|fus(e|ed|ion)|expand\w*|project|gates?|gated|gating|lora|adapters?|experts?|router|lateral"
    r"|fpn|highway|inception|dense(layer|block|net)|unet|cross|siamese|efficientnet|regnet|convnext"
    r"|upconv|deconv|convtranspose|transposed?|tconv|upsampl(e|ing)"
)
NUMBERED = re.compile(r"fcs?|lins?|linears?|dense|convs?|convolution|layers?|hiddens?|affine|weights?|kernels?")
LAYERS = re.compile(NUMBERED.pattern + r"|mlp|net|network|seq|sequential|main|model|module|perceptron")
LISTS = {"layers", "hidden", "hiddens", "linears", "lins", "fcs", "convs", "denses"}  # of layers of any widths
LETTERS = set("plhcfd")  # layers where a number follows
PLACES = (  # words for the places of a chain, from its input to its output
    re.compile(r"input|inp|in|first|initial|start|stem"),
    re.compile(r"features?|extractor|backbone|encoder|enc|body|trunk|middle|mid"),
    re.compile(r"decoder|dec"),
    re.compile(r"last|final|out|output|head|classifier|classification|readout|logits|top|score|predict(ion|or)?"),
)


def path_of(key: str) -> Path:
    """The names that lead to the module of a tensor: ``("net", "0", "linear")`` for ``net.0.linear.weight``."""
    *names, last = [name for name in re.split(r"[./]", re.sub(r":\d+$", "", key)) if name] or [key]
    matches = list(WEIGHT_WORD.finditer(last))
    if matches:
        start, end = matches[-1].span()
        rest = (last[:start] + last[end:]).strip("_-")
        last = rest if re.search(r"[A-Za-z]", rest) else f"weight{rest}" if rest else ""
    return (*names, last) if last else tuple(names) or (key,)


def _words(name: str) -> list[str]:
    """The words and numbers of one name in lower case: ``["conv", "1"]`` for ``conv2d_1``."""
    name = re.sub(r"[123]d(?![a-z])", "", name, flags=re.IGNORECASE)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.findall(r"[0-9]+|[^\W\d_]+|[^\w\s]", name.lower())


def letters_of(name: str) -> tuple[str, ...]:
    """The words of a name that are no numbers."""
    return tuple(word for word in _words(name) if not word.isdigit())


def numbers_of(name: str) -> tuple[int, ...]:
    """The numbers in a name."""
    return tuple(int(word) for word in _words(name) if word.isdigit())


def branched(path: Path) -> bool:
    """Whether a word says that a layer stands beside others."""
    return any(BRANCHED.fullmatch(word) for name in path for word in letters_of(name))


def place_of(name: str) -> int | None:
    """Where in a chain a name says that its layer stands, 0 for the input to 3 for the output; None where it does not.

    A numbered name says it where all of its words are words for layers.
    """
    words, numbers = letters_of(name), numbers_of(name)
    if len(words) == 1 and words[0] in LETTERS and numbers:
        return 1
    places = [i for word in words for i, known in enumerate(PLACES) if known.fullmatch(word)]
    if not words or len(places) + sum(bool(LAYERS.fullmatch(word)) for word in words) < len(words):
        return None
    if not places:
        return 1 if not numbers or all(map(NUMBERED.fullmatch, words)) else None
    return None if numbers or len(places) > 1 else places[0]
