"""Images whose covariance is known."""

import numpy as np

from tf_structvae.studies.density import closed_form

SHAPE, N = (3, 4, 2), 24
VARIANCES = [6.0, 3.0, 1.5, 0.8, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02, 0.01]


def images_with(values, count, rng, shape=SHAPE):
    """Images [count, H, W, C] of a covariance with exactly these eigenvalues; its eigenvectors."""
    size = int(np.prod(shape))
    noise = rng.normal(size=(count, len(values)))
    scores = np.linalg.qr(noise - noise.mean(0))[0] * count**0.5
    axes = np.linalg.qr(rng.normal(size=(size, len(values))))[0]
    flat = 0.5 + scores * np.sqrt(values) @ axes.T
    return flat.reshape(count, *shape), axes


def data(count=400, seed=0, shape=SHAPE, dtype=np.float64):
    """Images of a covariance with exactly the eigenvalues `VARIANCES`."""
    x, _ = images_with(VARIANCES, count, np.random.default_rng(seed), shape)
    return x.astype(dtype)


def reading(x, size=37):
    """A function that starts a pass over the images."""
    return lambda: iter(np.array_split(x, range(size, len(x), size)))


def dense(x):
    """Mean, eigenvalues and eigenvectors of the covariance, strongest first."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    return flat.mean(0), values[::-1], vectors[:, ::-1]


def components(rank, x=None):
    return closed_form.leading_components(reading(data() if x is None else x), rank)
