"""Low rank and local on drawn faces, 64x64: a local precision in the place of D.

    bin/train --config configs/avatars_local.py

Expected: samples with all of their noise have lines in the place of pixel noise. Measured at 32x32
(docs/local.md): log p(x given z) 8112 nats, 3668 with the low rank. Not run at 64x64.
Cost: a training step takes about 1.4 times that of configs/avatars.py, and 0.5 GB more.
"""

from tf_structvae.training import config, run_name


def get_config():
    c = config.use_local(config.default())
    c.name = run_name.reference(c.data) + "_local"
    return c
