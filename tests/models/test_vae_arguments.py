"""What arguments of a `StructuredVAE` may be, at the edges of what is allowed."""

from types import SimpleNamespace

import keras
import pytest
import small_vae
from small_vae import LATENT, SHAPE

from tf_structvae import Constraint, priors
from tf_structvae.layers import IndependentNormalHead, LocalLowRankHead, LowRankNormalHead
from tf_structvae.models import vae_arguments

NUMBERS = {
    "samples": 1,
    "pretrain_steps": 0,
    "pretrain_variance": 0.1,
    "mixing_rate": 0.0,
    "accumulate": 1,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"mixing_rate": 0.5},
        {"mixing_rate": keras.optimizers.schedules.CosineDecay(0.1, 10)},
        {"samples": 3, "accumulate": 4, "pretrain_steps": 7},
    ],
)
def test_numbers_that_are_allowed(changed):
    vae_arguments.check_numbers(**{**NUMBERS, **changed})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mixing_rate", -1e-9),
        ("mixing_rate", float("inf")),
        ("mixing_rate", None),
        ("pretrain_variance", -1.0),
        ("pretrain_variance", float("nan")),
    ],
)
def test_numbers_that_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value!r}"):
        vae_arguments.check_numbers(**{**NUMBERS, name: value})


@pytest.mark.parametrize("emitted", [7, 8, 9, 10])
def test_an_encoder_emits_an_even_number(emitted):
    encoder = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(emitted)]
    )
    decodes = keras.Sequential([keras.Input((emitted // 2,)), keras.layers.Dense(2)])
    if emitted % 2 == 0:
        vae_arguments.check_networks(encoder, decodes, 0)
        return
    with pytest.raises(ValueError, match=rf"an even number; it emits \(None, {emitted}\)"):
        vae_arguments.check_networks(encoder, decodes, 0)


def decoder(takes, emits):
    return SimpleNamespace(input_shape=takes, output_shape=emits)


@pytest.mark.parametrize(
    ("takes", "emits"),
    [
        ((None, 3), (None, 60)),
        ((None, None), (None, None)),
        ((None, 7, 3), (None, 7, 60)),  # what counts is the last
        (None, None),
        ([(None, 3), (None,)], [(None, 60)]),  # of several inputs Keras gives a list
    ],
)
def test_decoders_that_fit(takes, emits):
    vae_arguments.check_fit(decoder(takes, emits), LowRankNormalHead(3, rank=2), (4, 5, 3), 3)


@pytest.mark.parametrize(
    ("takes", "emits", "message"),
    [
        ((None, 3, 4), (None, 60), r"take latents \[B, 3\].* takes \(None, 3, 4\)"),
        ((None, 3), (None, 60, 61), r"over 60 entries.*\(4, 5, 3\).* emits \(None, 60, 61\)"),
    ],
)
def test_decoders_that_do_not(takes, emits, message):
    with pytest.raises(ValueError, match=message):
        vae_arguments.check_fit(decoder(takes, emits), LowRankNormalHead(3, rank=2), (4, 5, 3), 3)


def vamp(shape=SHAPE, latent=LATENT):
    return priors.VampPrior(latent, shape, 2)


def conditional(make, classes=3):
    return priors.Conditional([make() for _ in range(classes)])


@pytest.mark.parametrize(
    ("prior", "classes"),
    [
        (lambda: priors.StandardNormal(LATENT), 0),
        (lambda: priors.StandardNormal(LATENT), 3),  # one for all labels
        (vamp, 0),
        (lambda: conditional(lambda: priors.Normal(LATENT)), 3),
        (lambda: conditional(vamp), 3),
    ],
)
def test_priors_that_fit(prior, classes):
    vae_arguments.check_prior(prior(), LATENT, SHAPE, classes)


@pytest.mark.parametrize(
    ("prior", "classes", "message"),
    [
        (lambda: priors.Normal(LATENT + 1), 0, rf"over the {LATENT} latents .* {LATENT + 1}\."),
        (lambda: conditional(lambda: priors.Normal(LATENT)), 0, "for the 0 labels .* one for 3"),
        (lambda: conditional(lambda: priors.Normal(LATENT), 1), 3, "for the 3 labels .* for 1"),
        (lambda: vamp((8, 8, 1)), 0, r"pseudo-inputs .*got \(8, 8, 1\)"),
        (vamp, 3, "must be a Conditional of VampPriors"),
    ],
)
def test_priors_that_do_not(prior, classes, message):
    with pytest.raises(ValueError, match=message):
        vae_arguments.check_prior(prior(), LATENT, SHAPE, classes)


SHARE = Constraint("structured_share", 0.3, "equality")


@pytest.mark.parametrize("rank", [1, 2])
def test_a_share_of_variance_needs_a_column(rank):
    vae_arguments.check_targets([SHARE], LowRankNormalHead(3, rank=rank), (4, 5, 3))
    vae_arguments.check_targets([], IndependentNormalHead(3), (4, 5, 3))
    for head in (IndependentNormalHead(3), LocalLowRankHead(3, 0)):
        with pytest.raises(ValueError, match=f"with a factor P, got {type(head).__name__}"):
            vae_arguments.check_targets([SHARE], head, (4, 5, 3))


def test_an_entropy_below_that_of_fixed_noise_alone_is_out_of_reach():
    wanted = [Constraint("entropy", -1e4)]
    fixed = LowRankNormalHead(3, rank=2, epsilon=0.01, noise="fixed", standardize=False)
    with pytest.raises(ValueError, match="entropy_target = -10000"):
        vae_arguments.check_targets(wanted, fixed, (4, 5, 3))
    # where the noise is learned, or in units of the data, its entropy moves
    for changed in ({"noise": "learned"}, {"noise": "fixed", "standardize": True}):
        head = LowRankNormalHead(3, rank=2, epsilon=0.01, **{"standardize": False, **changed})
        vae_arguments.check_targets(wanted, head, (4, 5, 3))


def test_a_model_refuses_them():
    with pytest.raises(ValueError, match="over the"):
        small_vae.make(prior=priors.Normal(LATENT + 1))
