"""Targets of the constraints of eq. 2 that no model can meet, in nats per image."""

from __future__ import annotations

import math

import numpy as np


def entropy_floor(image_shape: tuple[int, ...], epsilon: float) -> float:
    """Entropy of N(mu, epsilon I), nats per image: what an entropy target cannot go below.

    Args:
      image_shape: (H, W, C).
      epsilon: the variance of D = epsilon I.

    Raises:
      ValueError: an epsilon that is no variance.

    Examples:
      >>> import tf_structvae as sv
      >>> floor = sv.targets.entropy_floor((218, 178, 3), 1e-5)
      >>> round(floor), round(-504750 - floor)  # what the paper's target leaves to P
      (-504940, 190)
    """
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon = {epsilon!r}: must be a finite number > 0.")
    return 0.5 * float(np.prod(image_shape)) * math.log(2 * math.pi * math.e * epsilon)


def check(
    kl_target: float | None,
    entropy_target: float | None,
    image_shape: tuple[int, ...],
    epsilon: float,
) -> None:
    """Refuses targets that no model can meet.

    Args:
      kl_target: nats per image; None is no constraint.
      entropy_target: nats per image, absolute as in the paper; None is no constraint.
      image_shape: (H, W, C).
      epsilon: the variance of D = epsilon I.

    Raises:
      ValueError: a KL below zero, or an entropy below that of D alone.
    """
    floor = entropy_floor(image_shape, epsilon)
    wrong = []
    if kl_target is not None and not 0 <= kl_target < math.inf:
        wrong.append(
            f"kl_target = {kl_target:g} nats per image cannot be met: "
            "a KL divergence is a finite number >= 0."
        )
    if entropy_target is not None and not floor <= entropy_target < math.inf:
        allowed = math.ceil(100 * floor) / 100  # rounded up: what is printed is accepted
        wrong.append(
            f"entropy_target = {entropy_target:.2f} nats per image cannot be met: images "
            f"{tuple(image_shape)} with epsilon {epsilon:g} have at least {floor:.2f}, even "
            f"with P = 0; give {allowed:.2f} or more, or an entropy budget >= 0."
        )
    if wrong:
        raise ValueError("\n".join(wrong))
