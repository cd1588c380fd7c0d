"""A Keras model in memory as a `Source`: the functions that an export is traced from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import LowRankMultivariateNormal, from_tfp_covariance
from tf_structvae.distributions.summary import rank_of
from tf_structvae.export.loading.source import Source, about
from tf_structvae.export.signatures import signatures
from tf_structvae.layers import NormalHead
from tf_structvae.models.density import LowRankDensity
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.priors import Prior, StandardNormal

tfd = tfp.distributions
_OF_LATENTS = (
    "decode",
    "manipulate",
    "components",
    "covariance_row",
    "condition",
    "sample_at",
    "local",
)


def open_model(
    model: keras.Model,
    what: str,
    name: str,
    known: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
) -> Source:
    """A model as a source.

    Args:
      model: a StructuredVAE, a LowRankDensity, or one of a single input that ends in a head.
      what: it is, for messages.
      name: of the model.
      known: what a card says of a run.
      classes: names of the classes of a conditional model; (): their numbers.

    Raises:
      ValueError: it is another model.
    """
    found: _Adapter
    if isinstance(model, StructuredVAE):
        shapes = model.image_shape, (model.latent_dim,)
        found = _Adapter(*shapes, model.decode, model.encode, model.classes, model.prior)
        names: tuple[str, ...] = ()
        prior: str | None = model.prior.describe()
    elif isinstance(model, LowRankDensity):
        found = _Adapter(model.image_shape, (0,), lambda latents: _repeated(model, latents))
        names, prior = ("sample", *_OF_LATENTS), None
    else:
        prior = None
        found = _Adapter(*_shapes_of_network(model, what), model)
        names = _OF_LATENTS
    known_signatures = signatures(cast(StructuredVAE, found))
    return Source(
        what=what,
        image_shape=found.image_shape,
        latent_shape=found.latent_shape,
        rank=found.rank,
        prior=prior,
        classes=tuple(classes or map(str, range(found.classes))),
        about=about(name, known or {}),
        run={k: s.function for k, s in known_signatures.items() if not names or k in names},
        distribution=found.decode,
    )


class _Adapter:
    """What the signatures ask of a model.

    Of TFP's class they know nothing, so that its numbers are handed on in ours.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_shape: tuple[int, ...],
        decode: Callable,
        encode: Callable | None = None,
        classes: int = 0,
        prior: Prior | None = None,
    ):
        self.image_shape = cast("tuple[int, int, int]", tuple(image_shape))
        self.latent_shape = latent_shape
        self.latent_dim = math.prod(latent_shape)
        self.encode = encode
        self.classes = classes
        self.prior = StandardNormal(self.latent_dim) if prior is None else prior
        self._decode = decode

    @property
    def rank(self) -> int:
        labels = tf.zeros([1], tf.int32) if self.classes else None
        p = self.decode(tf.zeros([1, self.latent_dim]), labels)
        return int(rank_of(p))

    def decode(self, latents, labels=None):
        given = () if labels is None else (labels,)
        p = self._decode(tf.reshape(latents, [-1, *self.latent_shape]), *given)
        if isinstance(p, tfd.MultivariateNormalDiagPlusLowRankCovariance):
            return from_tfp_covariance(p)
        return p


def _repeated(model: LowRankDensity, latents: tf.Tensor) -> LowRankMultivariateNormal:
    """The one distribution of the model, with the batch of latents [K, 0]."""
    p = model.distribution()
    loc = tf.broadcast_to(p.loc, [tf.shape(latents)[0], p.event_shape[0]])
    return LowRankMultivariateNormal(loc, p.cov_factor, p.cov_diag)


def _shapes_of_network(model: keras.Model, what: str) -> tuple[tuple, tuple]:
    """Shapes of a row of images and of the input of a network that ends in a head.

    Raises:
      ValueError: it does not, or does not have one input.
    """
    shape: Any = getattr(model, "input_shape", None)
    head: Any = model
    while isinstance(head, keras.Model) and head.layers:
        head = head.layers[-1]
    single = isinstance(shape, tuple) and None not in shape[1:]
    if not isinstance(head, NormalHead) or not single:
        raise ValueError(
            f"{what} must be a StructuredVAE, a LowRankDensity or a network of one input of known "
            "shape that ends in a head of tf_structvae.layers, to be used as a model of images; "
            f"it is a {type(model).__name__}. keras.models.load_model loads any other."
        )
    features = head.input.shape[1:]
    channels = head.channels
    if len(features) != 3:
        raise ValueError(
            f"{what} emits events of the shape {(*features[:-1], channels)}, not images (H, W, C); "
            "keras.models.load_model loads it."
        )
    return (*features[:-1], channels), tuple(shape[1:])
