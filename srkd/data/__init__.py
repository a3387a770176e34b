"""Training and benchmark images: found, packed, held apart, and cut into batches. Imports no torch."""

from srkd.data.crops import Batch, Crops
from srkd.data.pairs import EMBEDDED_TEST, EMBEDDED_TRAIN, Pair, embedded_photos, find_pairs, read_pair
from srkd.data.sets import DataSet, open_data

__all__ = [
    "EMBEDDED_TEST",
    "EMBEDDED_TRAIN",
    "Batch",
    "Crops",
    "DataSet",
    "Pair",
    "embedded_photos",
    "find_pairs",
    "open_data",
    "read_pair",
]
