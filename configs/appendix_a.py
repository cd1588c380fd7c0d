"""Appendix A, Fig. 7: mean pre-training and initialisation, but a free D and no entropy constraint.

    bin/train --config configs/appendix_a.py
    bin/train --config configs/appendix_a.py --config.objective.pretrain_steps=0   # and so on

The stabilisers of section 3.2, each a field of its own:

    mean pre-training       objective.pretrain_steps    300 | 0
    initialisation of P     model.factor_initial        1e-5 | 0.1
    fixed D = epsilon I     model.noise                 fixed | per_pixel
    entropy constraint      objective.constrain_entropy True | False

Expected: samples too bright and of too high contrast; numbers of every combination are in
docs/training.md.
Cost: about 10 minutes on 2 cores, 2 GB of memory.
"""

from tf_structvae import config


def get_config():
    c = config.use_papers_recipe(config.default(), entropy_budget=150.0)
    c.name = "appendix_a"
    c.model.noise = "per_pixel"
    c.objective.constrain_entropy = False
    return c
