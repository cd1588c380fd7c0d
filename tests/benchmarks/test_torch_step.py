"""The model that PyTorch is measured with is ours: `make test-benchmark` installs PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_structvae import StructuredVAE, networks
from tf_structvae.benchmarks import train_step, worker
from tf_structvae.layers import LowRankNormalHead
from tf_structvae.models.constraints import Constraint

torch = pytest.importorskip("torch")
from tf_structvae.benchmarks import torch_step  # noqa: E402
from tf_structvae.benchmarks.torch_network import Network  # noqa: E402

SHAPE = (17, 9, 2)  # odd at every stage: 9x5, 5x3
STAGES = ((4, 2), (6, 2))


def model(upsample="bilinear", stages=STAGES, noise="learned", **constraints):
    keras.utils.set_random_seed(0)
    head = LowRankNormalHead(
        2, 3, epsilon=0.05, noise=noise, factor_scale="kernel", factor_initial=0.1
    )
    encoder = networks.residual_encoder(SHAPE, 5, 4, stages, hidden=8, pool="max")
    decoder = networks.residual_decoder(
        SHAPE, 5, head, stages, hidden=6, project=4, final=4, upsample=upsample
    )
    for v in [*encoder.trainable_variables, *decoder.trainable_variables]:
        v.assign(v + 0.05 * keras.random.normal(v.shape))  # no bias stays zero
    targets = [Constraint(name, t, rate=0.5, damping=3.0) for name, t in constraints.items()]
    return StructuredVAE(encoder, decoder, constraints=targets)


def images(count=4):
    return np.random.default_rng(1).uniform(size=(count, *SHAPE)).astype(np.float32)


def first(x):
    return torch.tensor(x).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("upsample", "stages"),
    [("bilinear", STAGES), ("nearest", STAGES), ("transposed", ((4, 1), (6, 1)))],
)
def test_densities_are_those_of_keras(upsample, stages):
    ours, x = model(upsample, stages), images()
    noise = np.random.default_rng(2).standard_normal((4, 5)).astype(np.float32)
    q = ours.encode(x, training=True)
    p = ours.decode(q.loc + q.stddev() * noise, training=True)
    n01 = type(q)(tf.zeros_like(q.loc), tf.ones_like(q.loc))
    wanted = p.log_prob(x.reshape(4, -1)), q.kl_divergence(n01), p.entropy()
    found = torch_step.Vae(ours)(first(x), torch.tensor(noise))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=2e-4)


@pytest.mark.parametrize("noise", ["learned", "fixed"])
def test_as_many_parameters_learn(noise):
    ours = model("transposed", noise=noise)
    theirs = [p.numel() for p in torch_step.Vae(ours).parameters() if p.requires_grad]
    assert sum(theirs) == sum(np.prod(v.shape) for v in ours.trainable_variables)


@pytest.mark.parametrize("upsample", ["bilinear", "transposed"])
def test_even_sizes_have_the_same_shapes(upsample):
    encoder = networks.residual_encoder((16, 12, 3), 5, 4, STAGES)
    head = LowRankNormalHead(3, 2)
    decoder = networks.residual_decoder((16, 12, 3), 5, head, STAGES, 8, upsample=upsample)
    assert Network(encoder)(torch.zeros(2, 3, 16, 12)).shape == (2, 10)
    features = Network(decoder, head)(torch.zeros(2, 5))
    assert features.shape == (2, head.input.shape[-1], 16, 12)


def test_another_layer_is_an_error():
    network = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.MaxPooling2D(name="pool")])
    with pytest.raises(ValueError, match="pool is a MaxPooling2D, which has no twin in PyTorch"):
        Network(network)


def same_noise(step):
    torch.manual_seed(0)
    return float(step())


def test_loss_is_the_lagrangian_whose_multipliers_ascend():
    ours, x = model(kl=0.1, entropy=-500.0), images()
    vae = torch_step.Vae(ours)
    torch.manual_seed(0)  # as `same_noise`
    log_prob, kl, entropy = (v.detach() for v in vae(first(x), torch.randn(4, 5)))
    gaps = [float(kl.mean()) - 0.1, float(entropy.mean()) + 500.0]
    assert min(gaps) > 0
    step = torch_step.build(ours, x, channels_last=False, learning_rate=0.0)
    squares = sum(g**2 for g in gaps)
    first_loss = -float(log_prob.mean()) + 3.0 * squares
    for multiplier in (0.0, 0.5, 1.0):  # rate 0.5, the same gaps at each step
        wanted = first_loss + multiplier * squares
        assert same_noise(step) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_lower_the_loss(channels_last):
    torch.manual_seed(0)
    step = torch_step.build(model(kl=1.0), images(), channels_last, 3e-3)
    losses = [float(step()) for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 20


@pytest.mark.parametrize("implementation", ["PyTorch", "PyTorch, channels last"])
def test_step_is_measured(implementation):
    problem = {"network": "default", "height": 16, "width": 16, "batch": 2, "rank": 3}
    job = {"suite": "train", "implementation": implementation, "problem": problem}
    found = worker.measure({**job, "warm_up": 1, "repeats": 2})
    assert found["seconds"] > 0
    assert found["operations"] == train_step.build("ours", problem)[1]
