"""Constraints met by the modified differential method of multipliers (Platt & Barr, 1988).

A constraint knows nothing of autoencoders: it is a target for a scalar, a multiplier that climbs
while the target is missed, and a damping term that keeps the climb from oscillating. All values are
means over the global batch, here in nats per image.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae.utilities.checks import finite, is_finite

KINDS = ("equality", "clamped_equality", "upper_bound")


@keras.saving.register_keras_serializable(package="tf_structvae")
class Constraint(keras.layers.Layer):
    """Holds a scalar g(x) = value - target at, or below, zero.

    ```none
    loss       += coefficient * g,   coefficient = multiplier + damping * stop_gradient(g)
    multiplier += rate * g           (gradient ascent)
    ```

    Kinds:
      "equality": value = target, as eq. 2 of the paper is written; the multiplier may take either
        sign.
      "clamped_equality": what the authors' code does with eq. 2: the multiplier is kept >= 0, but
        the damping still pulls a value that lies below its target up to it.
      "upper_bound": value <= target; multiplier and coefficient are kept >= 0, so a satisfied
        constraint leaves the loss alone.

    Warm start: a target may move linearly from `initial_target` to `target` during the first
    `ramp_updates` updates, and the multiplier may start at `initial_multiplier`.

    Units: the authors sum over a batch of 25 with rate 1 and damping 10; per image that is rate 25
    and damping 250.

    Examples:
      >>> import tf_structvae as sv
      >>> kl = sv.Constraint("kl", target=45.0, rate=0.2, damping=5.0)
      >>> kl.update(50.0)  # five nats too many raise the multiplier by 5 * 0.2
      >>> float(kl.multiplier), float(kl.coefficient(50.0))
      (1.0, 26.0)
    """

    def __init__(
        self,
        name: str,
        target: float,
        kind: str = "clamped_equality",
        rate: float = 1.0,
        damping: float = 10.0,
        initial_multiplier: float = 0.0,
        initial_target: float | None = None,
        ramp_updates: int = 0,
    ):
        """
        Args:
          name: the constrained quantity; `StructuredVAE` offers "kl", "entropy" and more.
          target: where the mean of the quantity shall be.
          kind: one of `KINDS`.
          rate: step of the gradient ascent, per image; >= 0.
          damping: per image; >= 0.
          initial_multiplier: where the multiplier starts; >= 0 unless `kind` is "equality".
          initial_target: where the target starts, if it moves.
          ramp_updates: in how many updates it reaches `target`.

        Raises:
          ValueError: an argument outside its range.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        for label, value in (("rate", rate), ("damping", damping)):
            if not (is_finite(value) and value >= 0):
                raise ValueError(f"{label} must be finite and >= 0, got {value!r}.")
        finite("target", target)
        finite("initial_multiplier", initial_multiplier)
        if initial_multiplier < 0 and kind != "equality":
            raise ValueError(
                f"initial_multiplier must be >= 0 for {kind}, got {initial_multiplier}."
            )
        if initial_target is not None:
            finite("initial_target", initial_target)
        if ramp_updates < 0 or (initial_target is None) != (ramp_updates == 0):
            raise ValueError(
                "initial_target and ramp_updates > 0 belong together, got "
                f"{initial_target} and {ramp_updates}."
            )
        super().__init__(name=name, dtype="float32")
        self.target = float(target)
        self.kind = kind
        self.rate = float(rate)
        self.damping = float(damping)
        self.initial_multiplier = float(initial_multiplier)
        self.initial_target = initial_target
        self.ramp_updates = ramp_updates
        if ramp_updates:
            self.updates = self.add_weight(
                name="updates",
                shape=(),
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
            )
        self.multiplier = self.add_weight(
            name="multiplier",
            shape=(),
            initializer=keras.initializers.Constant(initial_multiplier),
            trainable=False,
            aggregation="only_first_replica",
        )
        self.built = True

    def current_target(self) -> float | tf.Tensor:
        """The target of the next update."""
        if self.initial_target is None:
            return self.target
        done = tf.minimum(self.updates / self.ramp_updates, 1.0)
        return self.initial_target + (self.target - self.initial_target) * done

    def gap(self, value) -> tf.Tensor:
        """value - current target.

        Args:
          value: of the quantity, scalar or [B].
        """
        return value - self.current_target()

    def coefficient(self, value) -> tf.Tensor:
        """The weight of the gap in the loss, a constant for the gradient.

        Args:
          value: the mean over the global batch.
        """
        coefficient = self.multiplier + self.damping * self.gap(value)
        if self.kind == "upper_bound":
            coefficient = tf.maximum(coefficient, 0.0)
        return tf.stop_gradient(coefficient)

    def call(self, value):
        """The term to add to a loss that is minimised; `value` is a scalar.

        Args:
          value: the mean over the global batch, a scalar.
        """
        return self.coefficient(value) * self.gap(value)

    def update(self, value, weight=1.0) -> None:
        """One step of gradient ascent on the multiplier.

        Args:
          value: the mean over the global batch, the same on every replica.
          weight: of this step, 0 or 1: whether the constraint takes part in it.
        """
        multiplier = self.multiplier + weight * self.rate * self.gap(value)
        if self.kind != "equality":
            multiplier = tf.maximum(multiplier, 0.0)
        self.multiplier.assign(multiplier)
        if self.ramp_updates:
            self.updates.assign(self.updates + weight)

    def get_config(self):
        return {
            "name": self.name,
            "target": self.target,
            "kind": self.kind,
            "rate": self.rate,
            "damping": self.damping,
            "initial_multiplier": self.initial_multiplier,
            "initial_target": self.initial_target,
            "ramp_updates": self.ramp_updates,
        }
