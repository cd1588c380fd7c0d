"""The paper's CelebA experiment (218x178x3, section 4.1), with a network after the authors'.

    bin/train --config configs/celeba.py --config.data.manual_dir=FOLDER --config.data.dir=RECORDS
    bin/train --config configs/celeba.py --config.data.dir=RECORDS --preflight

Files and folders: docs/celeba.md. Latent 128, rank 25, D = 1e-5 I, KL target 45, entropy target
-504750 (the floor of -504940 plus 190 nats), Adam 1e-4, batch 25, 100 passes over 10,000 images
(Appendix A). The authors' rate 1 and damping 10 on sums over a batch of 25 are 25 and 250 an image.
Memory on a CPU: 11.2 GB predicted; with --config.train.accumulate=3 5.9 GB measured, so 8 GB do.
Time: 58 s a step on 2 cores (27 days for all); made for a GPU.
Not run on CelebA itself; what to expect is the paper's Table 1.
"""

from tf_structvae import config


def get_config():
    c = config.paper(kl_target=45.0, entropy_target=-504750.0)
    c.name = "celeba"
    c.data.name = "celeb_a"
    c.data.variant = ""
    c.data.image_size = (218, 178)  # its own
    c.data.limit = 10_000
    c.data.flip = True
    return c
