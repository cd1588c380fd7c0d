"""The low-rank normal without a network: its own parameters, trained (section 4.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.distributions import LowRankMultivariateNormal, linalg
from tf_structvae.models.constraints import Constraint
from tf_structvae.models.progress_bar import ProgressBar
from tf_structvae.models.reachable_targets import check
from tf_structvae.utilities import checks

NOISES = ("fixed", "learned")
# The natural gradient of P is cut to so many times |P|: along the strongest directions a small P
# would grow by lambda / epsilon at once, and overshoot.
_LARGEST_CHANGE = 3.0


@keras.saving.register_keras_serializable(package="tf_structvae")
class LowRankDensity(keras.Model):
    """p(x) = N(mu, P P^T + D) with mu [N], P [N, R] and D = epsilon I as the parameters.

    `train_step` minimises, as eq. 2 without a latent space,

    ```none
    -mean log p(x)  +  coefficient (H - target)
    ```

    over mini-batches, by the backpropagated gradient g of that loss. With `natural`, what the
    optimiser is handed is

    ```none
    mu: Sigma g,    P: Sigma g,    log epsilon: 2 g / N
    ```

    Sigma being the model's own covariance, P P^T + D: for the mean that is the natural gradient
    (Amari, 1998), and for P it evens out curvatures that otherwise run from 1 / epsilon across P
    down to 1 / lambda_1 along it. For use with SGD, whose learning rate then needs no tuning.

    Plain gradients are for Adam, which gets the directions and the likelihood, but not the scale
    of the strong components: docs/density.md.

    Examples:
      >>> import numpy as np, tensorflow as tf, tf_structvae as sv
      >>> noise = np.random.default_rng(0).normal(size=[200, 1, 1, 1])
      >>> images = np.float32(0.5 + 0.1 * noise) * np.ones([1, 4, 4, 1], np.float32)
      >>> batches = tf.data.Dataset.from_tensor_slices(images).repeat().batch(50)
      >>> model = sv.density.LowRankDensity((4, 4, 1), rank=1, pretrain_steps=5)
      >>> sv.density.fit(model, batches, steps=60)
      step 60: log_prob ...
      >>> round(float(tf.norm(model.factor)), 1)  # 0.1 in each of 16 entries
      0.4
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        rank: int = 25,
        epsilon: float = 0.01,
        noise: str = "learned",
        constraints: Sequence[Constraint] = (),
        factor_initial: float = 1e-5,
        mean_initial: float = 0.5,
        pretrain_steps: int = 0,
        pretrain_variance: float = 0.01,
        natural: bool = True,
        seed: int = 0,
        **kwargs,
    ):
        """
        Args:
          image_shape: (H, W, C); N = H W C.
          rank: R.
          epsilon: D = epsilon I, or where it starts.
          noise: "fixed" (paper) or "learned" (one scalar).
          constraints: none, or one `Constraint` on "entropy", nats per image.
          factor_initial: standard deviation of the initial P (paper: 1e-5).
          mean_initial: every entry of the initial mean.
          pretrain_steps: for so many steps only the mean is trained, under an independent normal
            of variance `pretrain_variance` (mean pre-training, section 3.2).
          pretrain_variance: see there.
          natural: see above.
          seed: of the initial P.

        Raises:
          ValueError: an argument outside its range, or a target that no model can meet.
        """
        super().__init__(**kwargs)
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {NOISES}, got {noise!r}.")
        checks.image_shape(tuple(image_shape))
        size = math.prod(image_shape)
        if not (isinstance(rank, int) and 1 <= rank <= size):
            raise ValueError(f"rank must be an integer from 1 to {size}, got {rank!r}.")
        for name, value in (
            ("epsilon", epsilon),
            ("factor_initial", factor_initial),
            ("pretrain_variance", pretrain_variance),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number > 0, got {value}.")
        if pretrain_steps < 0:
            raise ValueError(f"pretrain_steps must be at least 0, got {pretrain_steps}.")
        if [c.name for c in constraints] not in ([], ["entropy"]):
            names = [c.name for c in constraints]
            raise ValueError(f"constraints must be none or one on 'entropy', got {names}.")
        if noise == "fixed" and constraints:
            check(None, constraints[0].target, image_shape, epsilon)
        self.image_shape = tuple(image_shape)
        self.rank = rank
        self.noise = noise
        self.constraints = list(constraints)
        self.pretrain_steps = pretrain_steps
        self.pretrain_variance = pretrain_variance
        self.natural = natural
        self._initial = {
            "epsilon": epsilon,
            "factor_initial": factor_initial,
            "mean_initial": mean_initial,
            "seed": seed,
        }
        self.loc = self.add_weight(
            name="loc", shape=(size,), initializer=keras.initializers.Constant(mean_initial)
        )
        self.factor = self.add_weight(
            name="factor",
            shape=(size, rank),
            initializer=keras.initializers.RandomNormal(stddev=factor_initial, seed=seed),
        )
        self.log_variance = self.add_weight(
            name="log_variance",
            shape=(1,),
            initializer=keras.initializers.Constant(math.log(epsilon)),
            trainable=noise == "learned",
        )
        self.steps = self.add_weight(
            name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self._means = {
            name: keras.metrics.Mean(name=name)
            for name in ("loss", "log_prob", "entropy", "entropy_above_floor")
        }
        self.built = True

    def distribution(self, dtype: tf.DType = tf.float32) -> LowRankMultivariateNormal:
        """The distribution as it is now, with event [N] and no batch.

        Args:
          dtype: of its tensors.
        """
        loc, factor, log_variance = (
            tf.cast(tf.convert_to_tensor(v), dtype)
            for v in (self.loc, self.factor, self.log_variance)
        )
        return LowRankMultivariateNormal(loc, factor, tf.exp(log_variance))

    def call(self, images=None) -> LowRankMultivariateNormal:
        """The distribution, whatever the images.

        Args:
          images: not looked at.
        """
        return self.distribution()

    def _loss(self, flat, pretraining):
        """Eq. 2 over a batch [B, N], and the log-density and entropy in it, scalars."""
        p = self.distribution()
        s = p.summarize(flat)
        log_prob = tf.reduce_mean(s.log_prob)
        active = tf.where(pretraining, 0.0, 1.0)
        error = tf.reduce_mean(tf.reduce_sum(tf.square(flat - p.loc), -1))
        n, variance = math.prod(self.image_shape), self.pretrain_variance
        mean_only = -0.5 * (error / variance + n * math.log(2 * math.pi * variance))
        loss = -tf.where(pretraining, mean_only, log_prob)
        for c in self.constraints:
            loss += active * c(s.entropy)
        means = (loss, log_prob, s.entropy, s.entropy - p.entropy_floor())
        return loss, dict(zip(self._means, means, strict=True)), active

    def _natural(self, gradients, pretraining):
        """The gradients of loc, factor and log_variance times the covariance; see the class."""
        by_loc, by_factor, by_log_variance = gradients
        factor, variance = tf.convert_to_tensor(self.factor), tf.exp(self.log_variance)

        def times_covariance(g):
            inner = linalg.matmul(factor, g, transpose_a=True)
            return linalg.matmul(factor, inner) + variance * g

        by_loc = tf.where(
            pretraining,
            self.pretrain_variance * by_loc,
            times_covariance(by_loc[:, tf.newaxis])[:, 0],
        )
        by_factor = times_covariance(by_factor)
        largest = _LARGEST_CHANGE * tf.norm(factor)
        by_factor *= tf.minimum(1.0, tf.math.divide_no_nan(largest, tf.norm(by_factor)))
        # half of N: the Fisher information of log epsilon, but for the few directions that P has
        return by_loc, by_factor, by_log_variance * (2.0 / self.loc.shape[0])

    def _rows(self, data):
        """The images [B, H, W, C] of a batch as rows [B, N]."""
        images = keras.utils.unpack_x_y_sample_weight(data)[0]
        checks.shape("images", images.shape, self.image_shape)
        return tf.reshape(images, [-1, self.loc.shape[0]])

    def train_step(self, data):
        flat = self._rows(data)
        step = tf.convert_to_tensor(self.steps)
        pretraining = step < self.pretrain_steps
        variables = [self.loc, self.factor, self.log_variance]
        with tf.GradientTape() as tape:
            loss, means, active = self._loss(flat, pretraining)
        gradients = tape.gradient(
            loss, [v.value for v in variables], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        if self.natural:
            gradients = self._natural(gradients, pretraining)
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if v.trainable]
        # `_natural` computes with the variables that are written here; without this, some steps
        # in an optimised graph used a variance that was already the next one
        with tf.control_dependencies(gradients):
            self.optimizer.apply_gradients(pairs)
        for c in self.constraints:
            c.update(means["entropy"], active)
        self.steps.assign(step + 1)
        return self._logs(means, tf.shape(flat)[0])

    def test_step(self, data):
        flat = self._rows(data)
        return self._logs(self._loss(flat, tf.constant(False))[1], tf.shape(flat)[0])

    def _logs(self, means, count):
        for name, value in means.items():
            self._means[name].update_state(value, sample_weight=count)
        logs = self.get_metrics_result()
        for c in self.constraints:
            logs[f"{c.name}_multiplier"] = tf.convert_to_tensor(c.multiplier)
        return logs

    def get_config(self):
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "rank": self.rank,
            "noise": self.noise,
            "constraints": [keras.saving.serialize_keras_object(c) for c in self.constraints],
            "pretrain_steps": self.pretrain_steps,
            "pretrain_variance": self.pretrain_variance,
            "natural": self.natural,
            **self._initial,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["image_shape"] = tuple(config["image_shape"])
        config["constraints"] = [
            keras.saving.deserialize_keras_object(c, custom_objects) for c in config["constraints"]
        ]
        return cls(**config)


def entropy_constraint(target: float, rank: int) -> Constraint:
    """On the entropy, nats per image, with constants for natural gradients.

    Under these the scales of all R components answer within a few steps, and the entropy changes
    by R nats where they change by a factor e: hence the division by R. The paper's constants are
    for Adam, which sees no scale; here a damping of 250 would overshoot at every step.

    Args:
      target: nats per image, absolute.
      rank: R.
    """
    return Constraint("entropy", target, rate=0.5 / rank, damping=2.5 / rank)


def fit(
    model: LowRankDensity, batches: tf.data.Dataset, steps: int, learning_rate: float | None = None
) -> None:
    """Trains for `steps` batches, by SGD or, with plain gradients, Adam; a cosine ends at zero.

    Args:
      model: not compiled.
      batches: float images [B, H, W, C]; at least `steps` of them, each image once a pass, so that
        their noise averages out as the rate falls.
      steps: how many.
      learning_rate: the first; None: 0.3 for natural gradients, 2e-3 for Adam.

    Raises:
      ValueError: a learning rate or number of steps outside its range.
      FloatingPointError: the loss is no longer finite.
    """
    if learning_rate is None:
        learning_rate = 0.3 if model.natural else 2e-3
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be a finite number > 0, got {learning_rate}.")
    if not (isinstance(steps, int) and steps > 0):
        raise ValueError(f"steps must be a positive integer, got {steps!r}.")
    kind = keras.optimizers.SGD if model.natural else keras.optimizers.Adam
    model.compile(kind(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))
    shown = keras.callbacks.LambdaCallback(
        # else what is shown would be means since the first step
        on_train_batch_begin=lambda batch, logs=None: batch % 50 or model.reset_metrics()
    )
    model.fit(
        batches,
        epochs=1,
        steps_per_epoch=steps,
        callbacks=[shown, ProgressBar(steps, 0), keras.callbacks.TerminateOnNaN()],
        shuffle=False,  # the batches are
        verbose=0,
    )
    if not all(np.isfinite(v).all() for v in model.get_weights()):
        raise FloatingPointError(
            f"the loss is not finite at step {int(model.steps.numpy())}: lower the learning_rate, "
            f"{learning_rate:g}."
        )
