"""Structured uncertainty for a predictor that is trained already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.distributions.summary import rank_of
from tf_structvae.layers.emitted import EmittedLowRankNormal
from tf_structvae.layers.low_rank import LowRankNormalHead
from tf_structvae.models import residual_network
from tf_structvae.models.component_loss import PosteriorComponents
from tf_structvae.models.losses import NegativeLogLikelihood
from tf_structvae.utilities import checks

OBJECTIVES = ("likelihood", "components")
"""What the head is trained by: the likelihood of its distribution, or NPPC's loss."""
MEANS = ("predictor", "corrected")
"""Whether the mean is what the predictor says, or that plus what the head has learned."""


class Components(NamedTuple):
    """Principal components of what may be wrong with predictions, strongest first."""

    mean: np.ndarray  # [B, *S, C]
    directions: np.ndarray  # unit vectors, [B, R, *S, C]
    stddev: np.ndarray  # of the target along each direction, [B, R]


def wrap(
    predictor: keras.Model,
    rank: int = 10,
    features: str | Sequence[str] | keras.Model | None = None,
    head: keras.layers.Layer | None = None,
    objective: str = "likelihood",
    mean: str = "predictor",
    width: int = 32,
) -> WrappedPredictor:
    """A model that says in which directions a trained predictor may be wrong.

    The predictor is frozen: its weights and statistics never change (its `trainable` becomes
    False). A small network that sees its input, its output and, where named, what its layers made
    on the way ends in a head for the residual y - predictor(x):

    ```none
    y | x ~ N(predictor(x), P(x) P(x)^T + D(x))
    ```

    Args:
      predictor: a Keras model with one input and one output: vectors [B, C], sequences [B, T, C]
        or images [B, H, W, C]; with a network of your own, any [B, *S, C].
      rank: R, of P; not used where a head is given.
      features: the name of a layer of a functional or sequential predictor, or several, whose
        outputs the small network sees beside input and output; or a network of your own, from
        [input, output] to features [B, *S, F].
      head: emits the distribution; None: `LowRankNormalHead` with a noise variance of each pixel,
        at least 0.001, in units of the first residuals.
      objective: one of `OBJECTIVES`, the loss of `compile` where none is given. "components" is
        that of neural posterior principal components (Nehme et al. 2023, arXiv 2309.15533), under
        which the columns of P are orthogonal.
      mean: one of `MEANS`.
      width: features of the small network's first layer.

    Raises:
      ValueError: an argument outside its range, a predictor of another kind, or no such layer.

    Examples:
      >>> import keras, numpy as np, tf_structvae as sv
      >>> x = np.random.default_rng(0).normal(size=[64, 8, 8, 1]).astype("float32")
      >>> conv = keras.layers.Conv2D(1, 3, padding="same")
      >>> blur = keras.Sequential([keras.Input((8, 8, 1)), conv])
      >>> model = sv.wrap(blur, rank=2, width=8)
      >>> model.compile("adam")
      >>> history = model.fit(x, x, epochs=1, verbose=0)
      >>> model(x).sample(3).shape.as_list(), model.components(x[:2]).directions.shape
      ([3, 64, 64], (2, 2, 8, 8, 1))
    """
    checks.integer("width", width)
    output = _shape_of(predictor, "output")
    taps = [features] if isinstance(features, str) else features
    network = taps if isinstance(taps, keras.Model) else None
    names = [] if taps is None or network is not None else [str(n) for n in taps]
    if network is None:
        shapes = [_shape_of(predictor, "input"), output, *_tap_shapes(predictor, names)]
        network = residual_network.build(output[:-1], shapes, width)
    if head is None:
        head = LowRankNormalHead(
            output[-1],
            rank,
            noise="per_pixel",
            factor_initial=0.1,
            standardize=True,
            variance_floor=1e-3,  # a predictor is often exact where nothing ever happens
        )
    return WrappedPredictor(predictor, network, head, names, objective, mean)


def _shape_of(predictor: Any, side: str) -> tuple[Any, ...]:
    """[*S, C] of its one input or output."""
    shape = getattr(predictor, f"{side}_shape", None) if predictor is not None else None
    if not isinstance(predictor, keras.Model) or not isinstance(shape, tuple) or len(shape) < 2:
        raise ValueError(
            f"predictor must be a built Keras model with one input and one output [B, ..., C], got "
            f"{type(predictor).__name__} with {side} {shape}. A subclassed model becomes one by "
            "`keras.Model(inputs, model(inputs))` with `inputs = keras.Input(...)`."
        )
    if shape[-1] is None:
        raise ValueError(f"the predictor's {side} must have a static size C, got {shape}.")
    return shape[1:]


def _tap_shapes(predictor, names) -> list[tuple[int | None, ...]]:
    known = [layer.name for layer in predictor.layers]
    for name in names:
        if name not in known:
            raise ValueError(f"features must name layers of the predictor, {known}, got {name!r}.")
    return [tuple(predictor.get_layer(name).output.shape[1:]) for name in names]


@keras.saving.register_keras_serializable(package="tf_structvae")
class WrappedPredictor(keras.Model):
    """A frozen predictor and a trained head for what it gets wrong; made by `wrap`.

    `model(x)` is a distribution over targets, flat in row-major order, [B, N]; `predict` gives its
    means. All of Keras works: `compile`, `fit`, `evaluate`, `save`, `keras.models.load_model`.

    Args:
      predictor: frozen from now on.
      network: from a list of the predictor's input, output and the outputs of the named layers to
        features [B, *S, F].
      head: from features to a distribution, with as many channels as the predictor's output.
      taps: names of layers.
      objective: one of `OBJECTIVES`.
      mean: one of `MEANS`.
      calibration: what `conformal.calibrate` found, by kind and level.

    Raises:
      ValueError: an argument outside its range, or parts that do not fit each other.
    """

    def __init__(
        self,
        predictor: keras.Model,
        network: keras.Model,
        head: keras.layers.Layer,
        taps: Sequence[str] = (),
        objective: str = "likelihood",
        mean: str = "predictor",
        calibration: Sequence[dict[str, Any]] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.event = _shape_of(predictor, "output")
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, got {objective!r}.")
        if mean not in MEANS:
            raise ValueError(f"mean must be one of {MEANS}, got {mean!r}.")
        if getattr(head, "channels", self.event[-1]) != self.event[-1]:
            raise ValueError(
                f"head must have the {self.event[-1]} channels of the predictor's output, got "
                f"{head.channels}."
            )
        if objective == "components" and not (getattr(head, "rank", 0) and mean == "predictor"):
            raise ValueError(
                "objective 'components' needs mean='predictor' and a head with a rank of at least "
                f"1, got mean={mean!r} and rank {getattr(head, 'rank', 0)}."
            )
        self.predictor = predictor
        self.network = network
        self.head = head
        self.taps = tuple(taps)
        self.objective = objective
        self.mean_of = mean
        self.calibration = [dict(c) for c in calibration]
        predictor.trainable = False
        watched = [predictor.get_layer(name).output for name in self.taps]
        watching = keras.Model(predictor.inputs, [predictor.outputs[0], *watched])

        # a function, lest the predictor's layers be tracked and saved twice
        def watch(x):
            found = watching(x, training=False)
            return found if isinstance(found, (list, tuple)) else [found]

        self._watch = watch
        self.build(predictor.input_shape)

    def build(self, input_shape):
        found = self.network.output_shape
        if tuple(found[1:-1]) != tuple(self.event[:-1]):
            raise ValueError(
                f"features must give [B, {', '.join(map(str, self.event[:-1]))}, F], the positions "
                f"of the predictor's output, got {found}."
            )
        if not self.head.built:
            self.head.build(found)
        if self.mean_of == "predictor":
            self.head.mean_kernel.trainable = False
            self.head.mean_bias.trainable = False
        self.built = True

    def call(self, x, training=False):
        predicted, *seen = self._watch(x)
        features = self.network([x, predicted, *seen], training=training)
        inner = self.head(features, training=training)
        base = tf.reshape(tf.cast(predicted, inner.dtype), [tf.shape(predicted)[0], -1])
        base = tf.ensure_shape(base, inner.batch_shape + inner.event_shape)
        p = self._about(base, inner)
        p.match_noise = inner.match_noise
        if inner.adapt_once is not None:

            def adapt_once(targets, global_sum):
                inner.adapt_once(targets - base, global_sum)
                p.become(self._about(base, inner))

            p.adapt_once = adapt_once
        return p

    def _about(self, base, inner):
        """The head's distribution of residuals as one of targets."""
        loc = base if self.mean_of == "predictor" else base + inner.mean()
        if self.objective == "components":
            return EmittedLowRankNormal(loc, orthogonal_columns(inner.cov_factor), inner.cov_diag)
        return inner.with_mean(loc)

    def compute_output_spec(self, inputs, *args, **kwargs):
        sizes = [n for n in self.event if n is not None]
        n = math.prod(sizes) if len(sizes) == len(self.event) else None
        return keras.KerasTensor((inputs.shape[0], n), dtype=self.head.compute_dtype)

    def compile(self, optimizer="adam", loss=None, **kwargs):
        """`keras.Model.compile`, with the loss of the objective where none is given.

        Args:
          optimizer: as of `keras.Model.compile`.
          loss: None: that of the objective.
          **kwargs: as of `keras.Model.compile`.
        """
        if loss is None:
            by_objective = {"likelihood": NegativeLogLikelihood, "components": PosteriorComponents}
            loss = by_objective[self.objective]()
        super().compile(optimizer, loss, **kwargs)

    def fit(self, *args, **kwargs):
        """`keras.Model.fit`. Regions that were calibrated before are those of another model then.

        Args:
          *args: as of `keras.Model.fit`.
          **kwargs: as of `keras.Model.fit`.
        """
        self.calibration = []
        return super().fit(*args, **kwargs)

    def compile_from_config(self, config):
        """As of `keras.Model`, when a saved model is loaded.

        Args:
          config: of `get_compile_config`.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        if hasattr(self, "optimizer") and self.built:
            self.optimizer.build(self.trainable_variables)

    def shaped(self, flat) -> np.ndarray:
        """[..., N] in the form of the predictor's output, [..., *S, C].

        Args:
          flat: [..., N].
        """
        flat = np.asarray(flat)
        known = math.prod(n for n in self.event if n is not None)
        inner = [flat.shape[-1] // known if n is None else n for n in self.event]
        return flat.reshape(*flat.shape[:-1], *inner)

    def components(self, x) -> Components:
        """The principal components of P (eq. 4), with the target's deviation along each.

        Args:
          x: inputs, [B, ...].

        Raises:
          ValueError: the head has no factor.
        """
        p = self(x)
        directions, stddev = principal_deviations(p)
        by_component = np.swapaxes(np.asarray(directions), -1, -2)
        return Components(self.shaped(p.mean()), self.shaped(by_component), np.asarray(stddev))

    def sample(self, x, count: int = 1, seed: int = 0, noise: bool = False) -> np.ndarray:
        """Targets that could be, [count, B, *S, C].

        Args:
          x: inputs, [B, ...].
          count: of each.
          seed: of the noise.
          noise: whether each pixel has noise of its own, too; without, what varies is structure.

        Raises:
          ValueError: count is no positive integer.
        """
        checks.integer("count", count)
        p = self(x)
        if noise or not rank_of(p):
            return self.shaped(p.sample(count, seed=tf.constant([seed, 0], tf.int32)))
        batch = p.batch_shape_tensor()
        drawn = tf.random.stateless_normal(
            tf.concat([[count], batch, [rank_of(p)]], 0), [seed, 1], dtype=p.dtype
        )
        return self.shaped(p.sample_from_noise(drawn))

    def condition(self, x, mask, value, noise_variance=None):
        """The distribution of targets of which some entries are known (eq. 5 and 6).

        Args:
          x: inputs, [B, ...].
          mask: bool, [*S, C] or [B, *S, C], or what broadcasts to it; True where known.
          value: the same, read where the mask is True.
          noise_variance: of what is known; None: exact.

        Returns:
          A distribution with batch [B] and event [N]; `shaped` gives its means as targets.

        Raises:
          ValueError: shapes that do not fit.
        """
        p = self(x)
        shape = (p.batch_shape[0], *self.shaped(p.mean()).shape[1:])

        def flat(name, given):
            try:
                return np.broadcast_to(np.asarray(given), shape).reshape(shape[0], -1)
            except ValueError:
                raise ValueError(
                    f"{name} must broadcast to the output's {shape}, got {np.shape(given)}."
                ) from None

        return p.condition(flat("mask", mask), flat("value", value), noise_variance)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "predictor": serialize(self.predictor),
            "network": serialize(self.network),
            "head": serialize(self.head),
            "taps": list(self.taps),
            "objective": self.objective,
            "mean": self.mean_of,
            "calibration": [dict(c) for c in self.calibration],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in ("predictor", "network", "head"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        return cls(**config)


def orthogonal_columns(factor: tf.Tensor) -> tf.Tensor:
    """Gram-Schmidt without division by the lengths; a column's gradient leaves those before it be.

    Args:
      factor: [..., N, R].

    Returns:
      [..., N, R], each column less its projection on those before it.
    """
    columns: list[tf.Tensor] = []
    units = tf.zeros_like(factor[..., :0])
    for k in range(factor.shape[-1]):
        column = factor[..., k : k + 1]
        column -= linalg.matmul(units, linalg.matmul(units, column, transpose_a=True))
        length = tf.norm(column, axis=-2, keepdims=True)
        unit = tf.stop_gradient(tf.math.divide_no_nan(column, length))
        units = tf.concat([units, unit], -1)
        columns.append(column)
    return tf.concat(columns, -1)


def principal_deviations(p) -> tuple[tf.Tensor, tf.Tensor]:
    """Principal components of P and the standard deviation along each.

    Along a unit vector u_k with scale s_k the variance is s_k^2 + u_k^T D u_k; of a local normal
    only the diagonal of the local part counts here.

    Args:
      p: with batch [B] and event [N], and a factor.

    Returns:
      Directions [B, N, R] and standard deviations [B, R].

    Raises:
      ValueError: p has no factor.
    """
    if not rank_of(p):
        raise ValueError(
            f"principal components need a distribution with a factor P, got {type(p).__name__}."
        )
    components = p.principal_components()
    directions, scales = components.directions, components.scales
    own = p.variance() - tf.reduce_sum(tf.square(directions * scales[..., tf.newaxis, :]), -1)
    along = tf.einsum("...nr,...n->...r", tf.square(directions), tf.maximum(own, 0.0))
    return directions, tf.sqrt(tf.square(scales) + along)
