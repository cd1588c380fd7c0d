"""The structured variational autoencoder as a Keras model."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.models import (
    accumulation,
    class_labels,
    input_checks,
    objective,
    replicas,
    vae_arguments,
    variance_share,
)
from tf_structvae.models.constraints import Constraint
from tf_structvae.models.objective import Observation
from tf_structvae.models.sliced_inference import Slices, before
from tf_structvae.models.training_step import LOGGED, Step
from tf_structvae.priors.prior import Prior, StandardNormal
from tf_structvae.utilities import checks

tfd = tfp.distributions
_NOT_COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")

__all__ = ["Observation", "StructuredVAE"]


@keras.saving.register_keras_serializable(package="tf_structvae")
class StructuredVAE(keras.Model):
    """A VAE whose decoder emits a distribution over all pixels (paper, section 3).

    `train_step` minimises, per image and averaged over the global batch (eq. 2),

    ```none
    -1/M sum_m log p(x | z_m)  +  sum_k coefficient_k (quantity_k - target_k)
    ```

    with `Constraint`s on the quantities "kl", "entropy", "negative_log_prob" and "squared_error",
    and on those that a subclass adds by `measure`; without a constraint on "kl" the KL divergence
    enters with weight one (eq. 1).

    ```python
    vae = StructuredVAE(encoder, decoder, [Constraint("kl", target=30.0)])
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(images)  # a tf.data.Dataset of float images [B, H, W, C] in [0, 1]
    ```

    With `classes` it is conditional: p(x | z, y), q(z | x, y). Both networks take
    one-hot labels as a second input, and whatever takes images or latents takes labels, too:

    ```python
    vae = StructuredVAE(encoder, decoder, classes=10)
    vae.fit(batches)  # of (images [B, H, W, C], labels int [B])
    vae.decode(latents, labels)
    ```

    Examples:
      >>> import keras, numpy as np, tf_structvae as sv
      >>> encoder = keras.Sequential(
      ...     [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2 * 4)]
      ... )
      >>> head = sv.layers.LowRankNormalHead(channels=3, rank=2)
      >>> decoder = keras.Sequential(
      ...     [keras.Input((4,)), keras.layers.Dense(64 * 5), keras.layers.Reshape((8, 8, 5)), head]
      ... )
      >>> vae = sv.StructuredVAE(encoder, decoder)
      >>> p = vae.decode(np.zeros([2, 4], np.float32))
      >>> p.sample_from_noise(np.ones([2, 2], np.float32)).shape.as_list()
      [2, 192]
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        constraints: Sequence[Constraint] = (),
        samples: int = 1,
        pretrain_steps: int = 0,
        pretrain_variance: float = 0.01,
        mixing_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.02,
        seed: int = 0,
        accumulate: int = 1,
        classes: int = 0,
        prior: Prior | None = None,
        **kwargs,
    ):
        """
        Args:
          encoder: images [B, H, W, C] -> [B, 2 L]: mean and log-variance of q(z | x). With classes
            it takes [images, one-hot labels [B, K]].
          decoder: latents [B, L] -> a distribution with batch [B] and event [H * W * C], as a head
            of `tf_structvae.layers` emits. With classes it takes [latents, one-hot labels [B, K]].
          constraints: at most one for each quantity.
          samples: M, the number of samples of z for each image.
          pretrain_steps: for so many steps only the mean is trained, under an independent normal
            of variance `pretrain_variance` (mean pre-training, section 3.2).
          pretrain_variance: see there.
          mixing_rate: step of the closed-form scale of a head that has one, a number or a schedule.
          seed: of the noise of z.
          accumulate: into how many parts `train_step` divides the batch (of each replica), one
            after the other, so that about so many times less memory goes to activations. The step
            is that of the whole batch, but for batch normalisation, which normalises each part by
            its own statistics (the moving ones move once a step, by the mean over the parts), and
            for layers that draw random numbers, such as dropout. A constraint with damping costs
            one more forward pass, since its coefficient depends on the mean over all parts; only of
            the encoder if it is on "kl".
          classes: K, of a conditional model, whose labels are integers [B] from 0 to K - 1; 0: no
            labels.
          prior: p(z), of `tf_structvae.priors`; None: N(0, I).

        Raises:
          ValueError: an unknown or doubled constraint, shapes that do not fit, or parts with batch
            normalisation across replicas.
        """
        super().__init__(**kwargs)
        vae_arguments.check_networks(encoder, decoder, classes)
        vae_arguments.check_constraints(constraints, self.QUANTITIES)
        vae_arguments.check_numbers(
            samples, pretrain_steps, pretrain_variance, mixing_rate, accumulate
        )
        accumulation.check_replicas((encoder, decoder), accumulate)
        self.encoder = encoder
        self.decoder = decoder
        self.constraints = list(constraints)
        self.samples = samples
        self.pretrain_steps = pretrain_steps
        self.pretrain_variance = pretrain_variance
        self.mixing_rate = mixing_rate
        self.seed = seed
        self.accumulate = accumulate
        self.classes = classes
        shape = encoder.input_shape[0] if classes else encoder.input_shape
        self.image_shape = tuple(shape[1:])
        self.latent_dim = encoder.output_shape[-1] // 2
        vae_arguments.check_fit(decoder, self.head, self.image_shape, self.latent_dim)
        # not the optimiser's count, which leaves out the steps that a loss scale skips
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        vae_arguments.check_targets(self.constraints, self.head, self.image_shape)
        shared = any(c.name == variance_share.NAME for c in constraints)
        self.variance_share = variance_share.VarianceShare() if shared else None
        self._take_prior(StandardNormal(self.latent_dim) if prior is None else prior)
        replicas.check_variables(*(c.multiplier for c in constraints))
        replicas.check_variables(*self.prior.non_trainable_variables)
        names = dict.fromkeys([*LOGGED, *(c.name for c in self.constraints)])
        self._means = {name: replicas.GlobalMean(name=name) for name in names}
        self.closed_form = getattr(self.head, "closed_form", False)
        self._encode = Slices(encoder, self.image_shape)
        body = before(self.head, decoder)
        self._features = None if body is None else Slices(body, self.image_shape)
        self.built = True

    QUANTITIES = ("kl", "entropy", "negative_log_prob", "squared_error", "structured_share")

    # --- The model ----------------------------------------------------------------------------

    def _inputs(self, x, labels):
        """What a network takes: images or latents [B, ...], and one-hot labels of a conditional."""
        if not self.classes:
            class_labels.refuse(labels)
            return x
        x = tf.convert_to_tensor(x)
        return [x, class_labels.one_hot(labels, self.classes, x.shape[0])]

    def encode(self, images, labels=None, training: bool = False) -> tfp.distributions.Distribution:
        """q(z | x), of a conditional model q(z | x, y): a diagonal normal, batch [B], event [L].

        Args:
          images: [B, H, W, C].
          labels: integers [B] of a conditional model, None of any other.
          training: whether layers behave as in training.

        Raises:
          ValueError: another shape; labels that are missing, not as above or, without classes,
            there.
        """
        checks.shape("images", getattr(images, "shape", None), self.image_shape)
        inputs = self._inputs(images, labels)
        in_slices = tf.executing_eagerly() and not training
        emitted = self._encode(inputs) if in_slices else self.encoder(inputs, training=training)
        # the distribution begins here, and is float32 under a mixed-precision policy, too
        mean, log_variance = tf.split(tf.cast(emitted, tf.float32), 2, axis=-1)
        return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * tf.maximum(log_variance, -20.0)))

    def decode(
        self, latents, labels=None, training: bool = False
    ) -> tfp.distributions.Distribution:
        """p(x | z), of a conditional model p(x | z, y): batch [B], event [H * W * C].

        Args:
          latents: [B, L].
          labels: see `encode`.
          training: see `encode`.

        Raises:
          ValueError: see `encode`.
        """
        checks.shape("latents", getattr(latents, "shape", None), (self.latent_dim,))
        inputs = self._inputs(latents, labels)
        if self._features is not None and tf.executing_eagerly() and not training:
            return self.head(self._features(inputs))
        return self.decoder(inputs, training=training)

    def call(self, images, labels=None, training: bool = False):
        """p(x | z) at the mean of q(z | x).

        Args:
          images: [B, H, W, C] in [0, 1].
          labels: see `encode`.
          training: whether layers behave as in training.
        """
        given = class_labels.given(labels)
        q = self.encode(images, **given, training=training)
        return self.decode(q.mean(), **given, training=training)

    @property
    def head(self):
        """The layer that emits the distribution."""
        layer = self.decoder
        while isinstance(layer, keras.Model):
            layer = layer.layers[-1]
        return layer

    def _take_prior(self, prior: Prior) -> None:
        vae_arguments.check_prior(prior, self.latent_dim, self.image_shape, self.classes)
        self.prior = prior
        prior.attach(self.encode)

    def replace_prior(self, prior: Prior) -> None:
        """Puts another prior in the place of the present one, such as one fitted after training.

        A model that is trained on afterwards is to be compiled anew.

        Args:
          prior: of `tf_structvae.priors`.

        Raises:
          TypeError: no prior.
          ValueError: one of other latents, images or labels; this one stays.
        """
        vae_arguments.check_prior(prior, self.latent_dim, self.image_shape, self.classes)
        place = next(i for i, layer in enumerate(self._layers) if layer is self.prior)
        self._tracker.untrack(self.prior)  # whose weights Keras would keep
        self._take_prior(prior)
        self._layers.insert(place, self._layers.pop())  # the order of weights stays
        # what Keras has traced holds the former one
        self.train_function = self.test_function = self.predict_function = None

    # --- Data: refused before the first step ---------------------------------------------------

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on images.

        Args:
          x: an array [B, H, W, C], a `tf.data.Dataset` of batches of images, of a conditional model
            of (images, labels), or whatever else Keras takes.
          *args: as of `keras.Model.fit`.
          **kwargs: the same.

        Raises:
          ValueError: no images of this model, or images on the scale of bytes.
          FloatingPointError: the loss is not finite after the first step or an epoch.
        """
        input_checks.check(x, self.image_shape, self.classes)
        if len(args) < 5:  # else callbacks are among them
            kwargs["callbacks"] = input_checks.with_stop(kwargs.get("callbacks"))
        with input_checks.told_plainly():
            return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """`keras.Model.evaluate` on images.

        Args:
          x: see `fit`.
          *args: as of `keras.Model.evaluate`.
          **kwargs: the same.

        Raises:
          ValueError: see `fit`.
        """
        input_checks.check(x, self.image_shape, self.classes)
        with input_checks.told_plainly():
            return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """The means of p(x | z) at the mean of q(z | x), [B, H * W * C].

        Args:
          x: see `fit`.
          *args: as of `keras.Model.predict`.
          **kwargs: the same.

        Raises:
          ValueError: see `fit`.
        """
        input_checks.check(x, self.image_shape, self.classes)
        with input_checks.told_plainly():
            return super().predict(x, *args, **kwargs)

    # --- Training -----------------------------------------------------------------------------

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        """`keras.Model.compile`; loss and logs are those of `train_step`.

        Args:
          optimizer: as of `keras.Model.compile`.
          loss: None.
          loss_weights: None.
          metrics: None.
          weighted_metrics: None.
          **kwargs: as of `keras.Model.compile`.

        Raises:
          ValueError: a loss, metrics or weights of either, or XLA on several replicas.
        """
        unused = (loss, loss_weights, metrics, weighted_metrics)
        for name, value in zip(_NOT_COMPILED, unused, strict=True):
            if value is not None:
                raise ValueError(
                    f"{name} must be None, got {value!r}: a StructuredVAE has a loss of its own, "
                    "eq. 2, and logs its parts; a subclass adds quantities by `measure`."
                )
        replicas.check_compiler(kwargs.get("jit_compile", "auto"), self.distribute_strategy)
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config):
        """Compiles as a saved model was, for `keras.models.load_model`.

        Args:
          config: of `get_compile_config`.
        """
        config = keras.saving.deserialize_keras_object(config)
        # an earlier version let them be given, without any use
        self.compile(**{k: v for k, v in config.items() if k not in _NOT_COMPILED})
        self.optimizer.build(self.trainable_variables)

    def observe(self, images, latents, labels=None, training: bool = False) -> Observation:
        """Scores images under p(x | z).

        Args:
          images: [B, H, W, C] in [0, 1].
          latents: [M, B, L].
          labels: see `encode`.
          training: whether layers behave as in training.
        """
        samples, batch = tf.shape(latents)[0], tf.shape(images)[0]
        given = class_labels.given(None if labels is None else tf.tile(labels, [samples]))
        p = self.decode(tf.reshape(latents, [-1, self.latent_dim]), **given, training=training)
        x = tf.tile(tf.reshape(images, [batch, p.event_shape[0]]), [samples, 1])
        return objective.observe(p, x, samples, self._measured)

    def _measured(self, x, p) -> dict[str, tf.Tensor]:
        """What can be constrained beside what every step computes."""
        if self.variance_share is None:
            return self.measure(x, p)
        return {variance_share.NAME: self.variance_share.share(p), **self.measure(x, p)}

    def measure(self, x, p) -> dict[str, tf.Tensor]:
        """Quantities of a subclass's own, for its constraints; it adds their names to `QUANTITIES`.

        Args:
          x: images, [B', H * W * C].
          p: the distribution that the decoder emits for them, batch [B'].

        Returns:
          For each name a tensor [B'].
        """
        return {}

    def _unpack(self, data):
        """Images and labels of a batch."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        input_checks.check_single(x, self.classes)
        images, labels = class_labels.of_data(x, y, self.classes)
        return input_checks.in_range(tf.convert_to_tensor(images)), labels

    def train_step(self, data):
        number = tf.convert_to_tensor(self.steps)
        pretraining = number < self.pretrain_steps
        images, labels = self._unpack(data)
        units = getattr(self.head, "units", None)
        if units is not None:
            units.adapt_once(images, replicas.global_sum)
        if self.variance_share is not None:
            self.variance_share.adapt_once(images, replicas.global_sum)
        step = Step(self, images, labels, tf.stack([self.seed, number]), True, pretraining)
        updates: accumulation.Updates = []
        if self.accumulate == 1:
            means, gradients = step.gradients()
        else:
            means, gradients, updates = step.gradients_by_parts(self.accumulate)
        self._log(means.logged, step.count)
        self.optimizer.apply(gradients, self.trainable_variables)
        for variable, value in updates:
            variable.assign(value)
        for c in self.constraints:
            c.update(means.constrained[c.name], step.active[c.name])
        if self.closed_form:
            rate = self.mixing_rate(number) if callable(self.mixing_rate) else self.mixing_rate
            rate = tf.where(pretraining, 0.0, rate)
            self.head.match_noise(means.noise["first"], means.noise["second"], rate)
        if means.prior:
            self.prior.update(means.prior)
        self.steps.assign(number + 1)
        return self._logs()

    def test_step(self, data):
        # The number of images seen so far seeds the noise, so every evaluation draws the same.
        seen = tf.cast(self._means["kl"].count, tf.int32)
        images, labels = self._unpack(data)
        seed = tf.stack([self.seed + 1, seen])
        step = Step(self, images, labels, seed, False, tf.constant(False))
        self._log(step.means().logged, step.count)
        return self._logs()

    def _log(self, means, count):
        # the same on every replica, since Keras averages over replicas of unlike batches
        for name, mean in means.items():
            self._means[name].update_state(mean, sample_weight=count)

    def predict_step(self, data):
        """The means of p(x | z) at the mean of q(z | x), [B, H * W * C].

        Args:
          data: images [B, H, W, C], or a tuple (images, labels [B]).
        """
        images, labels = self._unpack(data)
        return self(images, **class_labels.given(labels)).mean()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras adds up the replicas' batches here to learn their shape, which fails where they
        # differ in size; all there is to build is the optimiser.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _logs(self):
        logs = self.get_metrics_result()
        for c in self.constraints:
            logs[f"{c.name}_multiplier"] = tf.convert_to_tensor(c.multiplier)
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Keras averages over workers along axis 0 there (its issue 20585).
            logs = {name: tf.reshape(value, [1]) for name, value in logs.items()}
        return logs

    # --- Saving -------------------------------------------------------------------------------

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "constraints": [serialize(c) for c in self.constraints],
            "samples": self.samples,
            "pretrain_steps": self.pretrain_steps,
            "pretrain_variance": self.pretrain_variance,
            "mixing_rate": serialize(self.mixing_rate),
            "seed": self.seed,
            "accumulate": self.accumulate,
            "classes": self.classes,
            "prior": serialize(self.prior),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def deserialize(item):
            return keras.saving.deserialize_keras_object(item, custom_objects)

        config = dict(config)
        config["encoder"] = deserialize(config["encoder"])
        config["decoder"] = deserialize(config["decoder"])
        config["constraints"] = [deserialize(c) for c in config["constraints"]]
        config["mixing_rate"] = deserialize(config["mixing_rate"])
        if config.get("prior"):  # files of earlier versions have none
            config["prior"] = deserialize(config["prior"])
        return cls(**config)
