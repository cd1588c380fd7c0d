"""A training step of the same model in PyTorch, with the likelihood that the authors use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tf_structvae.benchmarks.torch_network import Network, array, copy

# An optimiser imports it, which beside TensorFlow ends the process; on a CPU it is not needed.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


class Head(nn.Module):
    """Features [B, F, H, W] to `torch.distributions.LowRankMultivariateNormal` over all pixels.

    Args:
      layer: a built `LowRankNormalHead` with `factor_scale="kernel"`, whose weights are copied.
    """

    def __init__(self, layer: Any):
        super().__init__()
        self.channels, self.rank = layer.channels, layer.rank
        features = layer.mean_kernel.shape[0]
        self.loc = nn.Conv2d(features, self.channels, 1)
        self.factor = nn.Conv2d(features, self.channels * self.rank, 1)
        kernel = array(layer.factor_kernel).flatten(1)
        copy(self.loc.weight, array(layer.mean_kernel).T[..., None, None])
        copy(self.loc.bias, array(layer.mean_bias))
        copy(self.factor.weight, kernel[:-1].T[..., None, None])
        copy(self.factor.bias, kernel[-1])
        learned = layer.noise == "learned"
        fixed = torch.full([1], float(np.log(layer.epsilon)))
        log_variance = array(layer.log_variance) if learned else fixed
        self.log_variance = nn.Parameter(log_variance, requires_grad=learned)

    def forward(self, features):
        loc = self.loc(features).flatten(1)
        factor = self.factor(features).unflatten(1, (self.channels, self.rank))
        factor = factor.permute(0, 1, 3, 4, 2).reshape(*loc.shape, self.rank)
        diagonal = self.log_variance.exp().expand(loc.shape)
        return torch.distributions.LowRankMultivariateNormal(
            loc, factor, diagonal, validate_args=False
        )


class Vae(nn.Module):
    """The networks and head of a `StructuredVAE`, with its weights.

    Args:
      model: a built `StructuredVAE` without labels.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.encoder = Network(model.encoder)
        self.decoder = Network(model.decoder, model.head)
        self.head = Head(model.head)

    def forward(self, images, noise):
        """log p, KL divergence from N(0, I) and entropy, each [B], nats.

        Args:
          images: [B, C, H, W].
          noise: of z, [B, L].
        """
        mean, log_variance = self.encoder(images).chunk(2, -1)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1)
        p = self.head(self.decoder(latents))
        return p.log_prob(images.flatten(1)), kl, p.entropy()


def build(
    model: Any, images: np.ndarray, channels_last: bool, learning_rate: float
) -> Callable[[], torch.Tensor]:
    """A step of training: forward, backward, Adam and the multipliers of the constraints.

    Args:
      model: a built `StructuredVAE`, whose weights and constraints are copied.
      images: [B, H, W, C].
      channels_last: the memory format of images and features.
      learning_rate: of Adam.
    """
    vae = Vae(model)
    x = torch.tensor(images).permute(0, 3, 1, 2)
    if channels_last:
        vae = vae.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    else:
        x = x.contiguous()
    constraints: Sequence[Any] = model.constraints
    multipliers = torch.zeros(len(constraints))
    optimizer = torch.optim.Adam([p for p in vae.parameters() if p.requires_grad], learning_rate)

    def step():
        log_prob, kl, entropy = vae(x, torch.randn(len(x), model.latent_dim))
        measured = {"kl": kl, "entropy": entropy}
        gaps = torch.stack([measured[c.name].mean() - c.target for c in constraints])
        damping = torch.tensor([c.damping for c in constraints])
        coefficients = (multipliers + damping * gaps).detach()
        loss = (coefficients * gaps).sum() - log_prob.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates = torch.tensor([c.rate for c in constraints])
        multipliers.add_(rates * gaps.detach()).clamp_(min=0)
        return loss

    return step
