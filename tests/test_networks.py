import numpy as np
import pytest

from tf_structvae import networks
from tf_structvae.layers import LowRankNormalHead

STAGES = ((4, 2), (6, 1), (8, 2))


@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 10, 3), (5, 17, 3)])
@pytest.mark.parametrize("pool", ["flatten", "max", "mean"])
@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "transposed"])
def test_any_image_size(shape, pool, upsample):
    encoder = networks.residual_encoder(shape, 3, 4, STAGES, 5, pool)
    x = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    parameters = encoder(x)
    assert parameters.shape == (2, 6)
    decoder = networks.residual_decoder(
        shape, 3, LowRankNormalHead(shape[-1], 2), STAGES, 8, 4, 6, upsample
    )
    d = decoder(parameters[:, :3])
    assert (d.batch_shape, d.event_shape) == ((2,), (int(np.prod(shape)),))


@pytest.mark.parametrize("norm", networks.NORMALIZATIONS)
def test_normalizations(norm):
    encoder = networks.residual_encoder((8, 8, 3), 2, 4, STAGES, norm=norm)
    kinds = {type(layer).__name__ for layer in encoder.layers}
    assert ("BatchNormalization" in kinds) == (norm in ("batch", "sync_batch"))
    assert ("GroupNormalization" in kinds) == (norm == "group")


def test_first_posteriors_are_near_the_prior():
    x = np.random.default_rng(0).uniform(size=(8, 16, 16, 3)).astype(np.float32)
    for pool in ("flatten", "max"):
        parameters = networks.residual_encoder((16, 16, 3), 8, 8, STAGES, pool=pool)(x).numpy()
        assert np.abs(parameters).max() < 1


def test_unknown_pool():
    with pytest.raises(ValueError, match="pool must be one of"):
        networks.residual_encoder((8, 8, 3), 2, 4, STAGES, pool="median")
