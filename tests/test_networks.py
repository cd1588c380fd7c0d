import numpy as np
import pytest

from tf_structvae import config, networks
from tf_structvae.build import build_head
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


def test_transposed_enlarges_within_its_stages():
    """No layer more than in the encoder: the first convolution of a stage has the stride."""
    decoder = networks.residual_decoder(
        (13, 10, 3), 3, LowRankNormalHead(3, 2), STAGES, 8, 4, upsample="transposed"
    )
    layers = {layer.name: layer for layer in decoder.layers}
    kinds = {name: type(layer).__name__ for name, layer in layers.items()}
    transposed = {name for name, kind in kinds.items() if kind == "Conv2DTranspose"}
    assert transposed == {"project", "stage2_conv1", "stage1_conv1", "stage0_conv1"}
    for i, (filters, stride) in enumerate(STAGES):
        assert layers[f"stage{i}_conv1"].strides == (stride, stride)
        assert layers[f"stage{i}_conv2"].strides == (1, 1)
        assert layers[f"stage{i}_conv2"].filters == filters
    assert layers["stage2"].output.shape[1:3] == (7, 5)
    assert layers["stage0"].output.shape[1:3] == (13, 10)


def test_papers_network_has_the_authors_size():
    """The authors' network has 31.0 M at the size of CelebA, with rank 25 and 128 latents."""
    c = config.paper(45.0, -504750.0)
    shape, m = (218, 178, 3), c.model
    encoder = networks.residual_encoder(
        shape, 128, m.encoder.stem, m.encoder.stages, m.encoder.hidden, m.encoder.pool
    )
    head = build_head(c, 3)
    d = m.decoder
    decoder = networks.residual_decoder(
        shape, 128, head, d.stages, d.hidden, d.project, None, d.upsample
    )
    # a 1x1 convolution from 64 features, with a bias, to mean (C) and factor (C x R)
    assert head.count_params() == 65 * (3 + 3 * 25)
    halves = [encoder.count_params(), decoder.count_params()]
    assert halves == [11_569_728, 19_471_374]
    assert abs(sum(halves) / 31.0e6 - 1) < 0.03
    filters = [decoder.get_layer(f"stage{i}").output.shape[1:] for i in reversed(range(8))]
    low, middle, high = (28, 23), (55, 45), (109, 89)
    assert filters == [
        (*low, 512), (*middle, 256), (*middle, 256), (*high, 128), (*high, 128),
        (218, 178, 64), (218, 178, 64), (218, 178, 64),
    ]  # fmt: skip


def test_default_network_keeps_its_size():
    """Checkpoints of earlier runs hold the variables of this network."""
    c = config.default()
    d = c.model.decoder
    decoder = networks.residual_decoder(
        (64, 64, 3), 64, build_head(c, 3), d.stages, d.hidden, None, None, d.upsample
    )
    names = [v.path for v in decoder.variables]
    assert names[0] == "project/kernel"
    assert [n for n in names if n.startswith("stage3")][:2] == [
        "stage3_conv1/kernel",
        "stage3_norm1/gamma",
    ]
    assert decoder.count_params() == 878_048
