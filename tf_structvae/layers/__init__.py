"""Last layers that emit a distribution over all pixels."""

from tf_structvae.layers.local_low_rank import LocalLowRankHead
from tf_structvae.layers.low_rank import FACTOR_SCALES, LowRankNormalHead
from tf_structvae.layers.normal import NOISES, IndependentNormalHead, NormalHead
from tf_structvae.layers.segmentation import LowRankSegmentationHead
from tf_structvae.layers.stock import StockLowRankNormalHead

__all__ = [
    "FACTOR_SCALES",
    "NOISES",
    "IndependentNormalHead",
    "LocalLowRankHead",
    "LowRankNormalHead",
    "LowRankSegmentationHead",
    "NormalHead",
    "StockLowRankNormalHead",
]
