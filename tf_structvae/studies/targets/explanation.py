"""Suggested targets in words."""

from __future__ import annotations

import numpy as np

from tf_structvae.studies.targets.covariance_spectrum import Spectrum
from tf_structvae.studies.targets.suggestion import Suggestion


def explain(spectrum: Spectrum, s: Suggestion) -> str:
    """Why `s`, in a few lines.

    Args:
      spectrum: of a data set.
      s: from `suggest`.
    """
    active = int(np.sum(spectrum.eigenvalues > s.water_level))
    more = 2 * s.water_level / spectrum.total_variance
    return "\n".join(
        [
            f"{spectrum.images:,} images {spectrum.image_shape}, "
            f"total variance {spectrum.total_variance:.4g}; nats per image:",
            f"rank      {s.rank}: as many components hold {s.rank_share:.1%} of the variance",
            f"KL        {s.kl_target:.1f}: z explains {s.latent_share:.1%}, down to "
            f"{s.water_level:.3g} in {active} directions (latent_dim should not be less); "
            f"one nat more would explain {more:.2%}",
            f"entropy   {s.entropy_target:.1f}: the floor of D = {s.epsilon:g} I, "
            f"{s.entropy_floor:.1f}, and a budget of {s.entropy_budget:.1f} for what z leaves; "
            f"beyond {s.budget_limit:.1f} samples are wider than the data",
            f"noise     {s.noise_variance:.2g}: what z and P leave of an entry; a start for "
            "learned noise",
        ]
    )


def compare(
    s: Suggestion, own: Suggestion, kl_target: float | None, entropy_budget: float | None
) -> str:
    """What a config's own targets come to, beside those suggested.

    Args:
      s: what is suggested.
      own: the suggestion at the rank, epsilon and, if it has one, the KL target of the config.
      kl_target: the config's, nats per image, or None.
      entropy_budget: the config's, nats per image above its floor, or None.
    """
    lines = [f"rank      {own.rank} holds {own.rank_share:.1%} (suggested {s.rank})"]
    if kl_target is not None:
        lines.append(
            f"KL        {kl_target:.1f} explains {own.latent_share:.1%} "
            f"(suggested {s.kl_target:.1f})"
        )
    if entropy_budget is not None:
        lines.append(
            f"budget    {entropy_budget:.1f} is {entropy_budget - own.entropy_budget:+.1f} to the "
            f"{own.entropy_budget:.1f} for what z leaves at this rank and KL: samples "
            f"{own.sample_width(entropy_budget):.2f} times as wide along P"
        )
    return "\n".join(lines)
