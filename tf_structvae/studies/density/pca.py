"""PCA by scikit-learn, to compare with: minibatched, so that any data set will do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tf_structvae.studies import targets
from tf_structvae.studies.density.closed_form import Components


def require() -> None:
    """
    Raises:
      ImportError: scikit-learn is missing, and how to get it.
    """
    try:
        import sklearn.decomposition  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "PCA is that of scikit-learn: pip install 'tf_structvae[data]'."
        ) from error


def fit(batches: Iterable[np.ndarray], rank: int, chunk: int = 500) -> Components:
    """`sklearn.decomposition.IncrementalPCA` of `rank` components, in one pass.

    It keeps the leading components of what it has seen and forgets the rest, so the result is not
    quite that of PCA on all images at once. Variances are divided by n, as the likelihood has it,
    where scikit-learn divides by n - 1. The total variance is that of the entries: scikit-learn's
    `noise_variance_` is a mean over the last chunk's singular values only.

    Args:
      batches: floating-point images [B, H, W, C], read once.
      rank: how many components.
      chunk: images in a step; at least `rank` are taken.

    Raises:
      ImportError: scikit-learn is missing.
      ValueError: fewer images than components, or as `targets.spectrum`.
    """
    require()
    from sklearn.decomposition import IncrementalPCA

    if not (isinstance(rank, int) and rank >= 1):
        raise ValueError(f"rank = {rank!r}: must be a positive integer.")
    model = IncrementalPCA(rank)
    for rows in _chunks(batches, max(chunk, rank)):
        if rank > min(rows.shape):
            raise ValueError(
                f"rank = {rank}: must be at most {min(rows.shape)}, there are {rows.shape[0]} "
                f"images of {rows.shape[1]} entries."
            )
        model.partial_fit(rows)
    count = int(model.n_samples_seen_)
    return Components(
        np.asarray(model.mean_, np.float64),
        np.asarray(model.components_.T, np.float64),
        np.asarray(model.explained_variance_, np.float64) * ((count - 1) / count),
        float(np.sum(model.var_, dtype=np.float64)),
        count,
    )


def _chunks(batches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Rows [K, N] with size <= K < 2 size, so that the last chunk is no smaller than the others.

    Fewer only if there are fewer images.
    """
    kept: list[np.ndarray] = []
    for x in targets.checked(batches):
        kept.append(x.reshape(len(x), -1))
        while sum(map(len, kept)) >= 2 * size:
            rows = np.concatenate(kept)
            yield rows[:size].copy()  # scikit-learn would write into it
            kept = [rows[size:]]
    if not kept:
        raise ValueError("principal components need at least 2 images, got 0.")
    yield np.concatenate(kept)
