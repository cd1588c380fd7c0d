"""The networks whose features Table 1's distances are of, by their names."""

from __future__ import annotations

import functools

from tf_structvae.evaluation import features, inception
from tf_structvae.evaluation.features import Extractor


@functools.lru_cache(maxsize=1)
def extractors(names: tuple[str, ...], inception_weights: str | None) -> list[Extractor]:
    """The networks of the features, those of true FID first.

    Args:
      names: of `evaluation.features`.
      inception_weights: a file; None without true FID.

    Raises:
      ImportError, OSError, ValueError: one that is not to be had.
    """
    found = [features.extractor(name) for name in dict.fromkeys(names)]
    return [inception.extractor(inception_weights), *found] if inception_weights else found
