"""The paper's UK Biobank experiment (section 4.1), with a network after the authors'.

    bin/train --config configs/ukbb.py --config.data.manual_dir=FOLDER --config.data.dir=RECORDS
    bin/train --config configs/ukbb.py --config.data.manual_dir=FOLDER --preflight

Files and folders: docs/ukbb.md. Latent 128, rank 25, D = 1e-5 I, KL target 15, entropy target
-198906. The paper does not state the size of its slices. With D = 1e-5 I the entropy of N pixels is
at least -4.3375 N, so the target can be met from N = 45858 on; axial slices of the 1 mm MNI grid
(218x182) with black rows added to 252x182 (45864 pixels) leave a budget of 30 nats.
Memory on a CPU: 6.3 GB measured with --config.train.accumulate=3, so 8 GB do; made for a GPU.
Not run on UK Biobank itself; what to expect is the paper's Table 1.
"""

from tf_structvae import config


def get_config():
    c = config.paper(kl_target=15.0, entropy_target=-198906.0)
    c.name = "ukbb"
    c.data.name = "ukbb"
    c.data.variant = ""
    c.data.image_size = (252, 182)
    c.data.channels = 1
    return c
