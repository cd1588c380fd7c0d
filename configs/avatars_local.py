"""Low rank and local on drawn faces, 64x64: a local precision in the place of D.

    bin/train --config configs/avatars_local.py

Expected: samples with all of their noise look like pictures, with sharp lines; log p(x given z)
above that of configs/avatars.py by half and more. docs/local.md has what was measured.
Cost: about half as much again as configs/avatars.py.
"""

from tf_structvae.training import config, run_name


def get_config():
    c = config.use_local(config.default())
    c.name = run_name.reference(c.data) + "_local"
    return c
