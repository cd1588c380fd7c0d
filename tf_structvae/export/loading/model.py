"""The same methods whatever was saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.export import noise
from tf_structvae.export.loading.source import Source
from tf_structvae.utilities import checks

_ROWS = 64  # that a graph computes at once, so that many pictures take the memory of a few


class LoadedModel:
    """A saved model, ready to draw, encode, decode and fill in pictures; `tf_structvae.load`.

    Pictures are float32 arrays [K, H, W, C] with values in [0, 1]. What was saved may lack a part:
    a `LowRankDensity` has neither latents nor encoder, a network that ends in a head has latents
    (what it takes) but neither prior nor encoder. A method that needs it raises
    NotImplementedError.

    Examples:
      >>> import tf_structvae as sv
      >>> model = sv.load("demo")
      >>> model.sample(2, seed=1).shape
      (2, 64, 64, 3)
      >>> model.decode(model.encode(model.sample(2)).mean()).event_shape.as_list()
      [12288]
    """

    def __init__(self, source: Source):
        """
        Args:
          source: what `load` has opened.
        """
        self._source = source

    def __repr__(self) -> str:
        shape, rank = "x".join(map(str, self.image_shape)), self._source.rank
        parts = [f"images {shape}", f"{self.latent_dim} latents", f"rank {rank}"]
        parts += [f"{len(self.classes)} classes"] if self.classes else []
        return f"LoadedModel({self._source.what}: {', '.join(parts)})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self._source.image_shape

    @property
    def latent_dim(self) -> int:
        """L, the number of entries that a row of latents has; 0 where there are none."""
        return math.prod(self._source.latent_shape)

    @property
    def rank(self) -> int:
        """R, the number of columns of P; 0 of an independent normal."""
        return self._source.rank

    @property
    def prior(self) -> str | None:
        """What latents are drawn from, in words; None of what has no prior."""
        return self._source.prior

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0 to K - 1 of a conditional model; () of any other."""
        return self._source.classes

    @property
    def about(self) -> dict[str, Any]:
        """Name, training, metrics and data, as in model_card.json; None where not saved."""
        return dict(self._source.about)

    def sample(
        self,
        count: int | None = None,
        seed: int = 0,
        latents: Any = None,
        labels: Any = None,
        first: int = 0,
    ) -> np.ndarray:
        """Pictures from the prior, or at given latents: the mean plus P times noise, clipped.

        Pixel noise is left out (eq. 3), except where there is no P, or a local part in its place.
        Picture i depends on `seed` and
        i alone, so the first ones of more are the same. The noise of P of a seed is the same with
        and without `latents`.

        Args:
          count: how many; None: as many as there are latents, or one.
          seed: a 32-bit integer.
          latents: [count, L]; None: drawn from the prior.
          labels: of a conditional model, one integer or [count]; None of any other.
          first: the number i of the first picture.

        Returns:
          [count, H, W, C].

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: no latents, and what was saved has no prior.
        """
        if count is None:
            count = 1 if latents is None else len(latents)
        checks.integer("count", count)
        seeds = _seeds(seed, range(first, first + count))
        if latents is None:
            return self._run("sample", self._labels(labels, count), seeds=seeds)["images"]
        given = self._labels(labels, count)
        z = self._latents(latents, count)
        if "sample_at" in self._source.run:
            return self._run("sample_at", given, seeds=seeds, latents=z)["images"]
        drawn = noise.normal_rows(tf.constant(seeds), z.shape[1] + (self.rank or self._size))
        drawn = drawn[:, z.shape[1] :].numpy()
        if self.rank:
            scales = np.ones_like(drawn)
            inputs = {"latents": z, "factor_noise": drawn, "component_scales": scales}
            return self._run("manipulate", given, **inputs)["images"]
        found = self._run("decode", given, latents=z)
        drawn = drawn.reshape(found["means"].shape)
        return np.clip(found["means"] + np.sqrt(found["variances"]) * drawn, 0.0, 1.0)

    def sample_means(
        self, count: int = 1, seed: int = 0, labels: Any = None, first: int = 0
    ) -> np.ndarray:
        """The means at the latents that `sample` draws for the same arguments, clipped.

        Args:
          count: how many.
          seed: a 32-bit integer.
          labels: see `sample`.
          first: see `sample`.

        Returns:
          [count, H, W, C].

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: what was saved has no prior.
        """
        checks.integer("count", count)
        seeds = _seeds(seed, range(first, first + count))
        found = self._run("sample", self._labels(labels, count), seeds=seeds)["means"]
        return np.clip(found, 0.0, 1.0)

    def log_prob(
        self, images: Any, seed: int = 0, labels: Any = None, numbers: Any = None
    ) -> dict[str, np.ndarray]:
        """The importance-weighted bound of log p(x), nats per image; see docs/export.md.

        Args:
          images: [K, H, W, C] in [0, 1].
          seed: of z, a 32-bit integer; that of image number i depends on `seed` and i alone.
          labels: see `sample`.
          numbers: i of each image, [K]; None: 0 to K - 1.

        Returns:
          What the signature `log_prob` gives, each [K].

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: what was saved has no encoder.
        """
        x = self._images("images", images)
        seeds = _seeds(seed, range(len(x)) if numbers is None else numbers)
        if len(seeds) != len(x):
            raise ValueError(f"numbers must be one for each of {len(x)} images, got {len(seeds)}.")
        return self._run("log_prob", self._labels(labels, len(x)), images=x, seeds=seeds)

    def decode(self, latents: Any = None, labels: Any = None) -> tfp.distributions.Distribution:
        """p(x | z) over flat pictures, N = H * W * C entries, with batch [K].

        A `LowRankMultivariateNormal`, a `LocalLowRankNormal`, or `tfd.MultivariateNormalDiag` of a
        standard VAE. Of an export, P and D come from its principal components and variances: P up
        to a rotation, which the distribution does not depend on, and D with the rounding of a
        variance in float32.

        Args:
          latents: [K, L]; None of a `LowRankDensity` alone, whose batch is then [1].
          labels: see `sample`.

        Raises:
          ValueError: an argument is not as above.
        """
        z = self._latents(latents)
        given = self._labels(labels, len(z)).get("labels")
        return self._source.distribution(
            tf.constant(z), None if given is None else tf.constant(given)
        )

    def encode(self, images: Any, labels: Any = None) -> tfp.distributions.MultivariateNormalDiag:
        """q(z | x): `mean()` and `stddev()` are [K, L].

        Args:
          images: [K, H, W, C] in [0, 1].
          labels: see `sample`.

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: what was saved has no encoder.
        """
        x = self._images("images", images)
        found = self._run("encode", self._labels(labels, len(x)), images=x)
        return tfp.distributions.MultivariateNormalDiag(found["latents"], found["latent_stddevs"])

    def reconstruct(self, images: Any, labels: Any = None) -> np.ndarray:
        """Pictures at the mean of q(z | x), with the noise of P that explains x best, clipped.

        Args:
          images: [K, H, W, C] in [0, 1].
          labels: see `sample`.

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: what was saved has no encoder.
        """
        x = self._images("images", images)
        return self._run("reconstruct", self._labels(labels, len(x)), images=x)["images"]

    def condition(
        self,
        mask: Any,
        values: Any,
        latents: Any = None,
        images: Any = None,
        labels: Any = None,
        noise_variance: float = 0.0,
    ) -> np.ndarray:
        """Mean pictures of p(x | z) given some of the pixels (eq. 5 and 6), clipped to [0, 1].

        Args:
          mask: true, or above 0.5, where a pixel is given: [H, W], or what broadcasts to
            [K, H, W, 1].
          values: of the pixels there; what broadcasts to [K, H, W, C].
          latents: z, [K, L], unless images are given. A `LowRankDensity` takes neither, and K is
            that of `values`.
          images: [K, H, W, C], whose mean of q(z | x) is z.
          labels: see `sample`.
          noise_variance: up to which the values are known; 0: exactly.

        Returns:
          [K, H, W, C].

        Raises:
          ValueError: an argument is not as above.
          NotImplementedError: images, and what was saved has no encoder.
        """
        if latents is not None and images is not None:
            raise ValueError("latents or images must be given, not both.")
        if images is not None:
            latents = self.encode(images, labels).mean().numpy()
        values = np.asarray(values, np.float32)
        z = self._latents(
            latents, len(values) if values.ndim == 4 and not self.latent_dim else None
        )
        mask = np.asarray(mask, np.float32)
        mask = mask[..., np.newaxis] if mask.ndim == 2 else mask
        height, width, channels = self.image_shape
        variance = np.full(len(z), noise_variance, np.float32)
        if not np.all(variance >= 0.0):
            raise ValueError(f"noise_variance must be a number >= 0, got {noise_variance!r}.")
        return self._run(
            "condition",
            self._labels(labels, len(z)),
            latents=z,
            values=_broadcast("values", values, (len(z), height, width, channels)),
            mask=_broadcast("mask", mask, (len(z), height, width, 1)),
            noise_variance=variance,
        )["images"]

    @property
    def _size(self) -> int:
        return math.prod(self.image_shape)

    def _run(self, name: str, labels: dict[str, np.ndarray], **inputs) -> dict[str, np.ndarray]:
        """The outputs of a signature, a few rows at a time."""
        function = self._source.run.get(name)
        if function is None:
            lacks = "prior to sample from" if name == "sample" else "encoder"
            raise NotImplementedError(f"{self._source.what} has no {lacks}: it cannot {name}.")
        inputs |= labels
        count = len(next(iter(inputs.values())))
        parts = [_slice(function, inputs, i) for i in range(0, count, _ROWS)]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    def _images(self, name: str, images: Any) -> np.ndarray:
        x = _finite(name, images)
        checks.shape(name, x.shape, self.image_shape)
        checks.integer(f"the number of {name}", len(x))
        return x

    def _latents(self, latents: Any, count: int | None = None) -> np.ndarray:
        """[K, L] of what was given."""
        shape = self._source.latent_shape
        if latents is None and not self.latent_dim:
            return np.zeros([count or 1, 0], np.float32)
        if latents is None or not self.latent_dim:
            wanted = "be given" if self.latent_dim else "be None"
            raise ValueError(
                f"latents must {wanted}: {self._source.what} has {self.latent_dim} of them."
            )
        z = _finite("latents", latents)
        checks.shape("latents", z.shape, shape)
        checks.integer("the number of latents", len(z))
        if count not in (None, len(z)):
            raise ValueError(f"latents must have count = {count} rows, got {len(z)}.")
        return z.reshape(len(z), -1)

    def _labels(self, labels: Any, count: int) -> dict[str, np.ndarray]:
        """{"labels": int32 [count]}, {} of a model without classes."""
        known = len(self.classes)
        if not known:
            if labels is not None:
                raise ValueError(f"labels must be None: {self._source.what} has no classes.")
            return {}
        allowed = f"labels must be integers from 0 to {known - 1}, one or [{count}]"
        if labels is None:
            raise ValueError(f"{allowed}, got None: {self._source.what} has {known} classes.")
        y = np.asarray(labels)
        if y.dtype.kind not in "iu" or y.shape not in ((), (count,)):
            raise ValueError(f"{allowed}, got {y.dtype.name} of shape {y.shape}.")
        if y.min() < 0 or y.max() >= known:
            raise ValueError(f"{allowed}, got {y.min()} to {y.max()}.")
        return {"labels": np.broadcast_to(y, [count]).astype(np.int32)}


def _seeds(seed: int, numbers: Any) -> np.ndarray:
    """Those of pictures of these numbers, int32 [K, 2].

    Raises:
      ValueError: one that is no 32-bit integer, or a number below 0.
    """
    checks.integer("seed", seed, -(2**31))
    found = np.asarray(numbers, np.int64)
    for name, least, largest in (("seed", seed, seed), ("a number", found.min(), found.max())):
        if largest >= 2**31:
            raise ValueError(f"{name} must be an integer below 2**31, got {largest}.")
        if name != "seed" and least < 0:
            raise ValueError(f"{name} of a picture (first) must be at least 0, got {least}.")
    return np.stack([np.full(found.shape, seed), found], -1).astype(np.int32)


def _slice(function: Callable, inputs: dict[str, np.ndarray], first: int) -> dict[str, np.ndarray]:
    part = {k: tf.constant(x[first : first + _ROWS]) for k, x in inputs.items()}
    return {k: x.numpy() for k, x in function(**part).items()}


def _finite(name: str, given: Any) -> np.ndarray:
    x = np.asarray(given, np.float32)
    if not np.all(np.isfinite(x)):
        raise ValueError(f"{name} must be finite.")
    return x


def _broadcast(name: str, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    x = _finite(name, given)
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        wanted = list(shape)
        raise ValueError(f"{name} must broadcast to {wanted}, got the shape {x.shape}.") from None
