"""Zoos of input networks on disk: write, read, check, and build by fitting many SIRENs at once."""

from graphws.zoo.building import BuildSettings, build_inr_zoo
from graphws.zoo.checking import verify_zoo
from graphws.zoo.conventions import (
    CONVENTIONS,
    Convention,
    convention_of,
    coordinates,
    initialise,
    siren_architecture,
)
from graphws.zoo.fitting import Fit, FitSettings, fit_images, fit_sirens
from graphws.zoo.mixed import MixedZoo, open_mixed
from graphws.zoo.reading import Zoo
from graphws.zoo.sources import ImageSet, load_images
from graphws.zoo.writing import write_zoo

__all__ = [
    "CONVENTIONS",
    "BuildSettings",
    "Convention",
    "Fit",
    "FitSettings",
    "ImageSet",
    "MixedZoo",
    "Zoo",
    "build_inr_zoo",
    "convention_of",
    "coordinates",
    "fit_images",
    "fit_sirens",
    "initialise",
    "load_images",
    "open_mixed",
    "siren_architecture",
    "verify_zoo",
    "write_zoo",
]
