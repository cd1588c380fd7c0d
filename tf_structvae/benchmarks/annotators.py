"""Stochastic segmentation against independent pixels, on annotators of known correlation."""

from __future__ import annotations

import numpy as np

from tf_structvae.utilities import markdown

HEADS = {"low rank": 10, "independent": 0}
_SAMPLES, _TEST, _DRAWS = 16, 200, 100


def measure(problem: dict) -> dict:
    """Trains a network and scores samples of it.

    Args:
      problem: "head", a key of `HEADS`; "seed"; "epochs"; "images".

    Returns:
      log p of held-out label maps by 100 draws, GED, HM-IoU, and diversity of samples and of
      annotations.
    """
    import keras

    from tf_structvae.datasets import draw_annotated_shapes
    from tf_structvae.evaluation import segmentation
    from tf_structvae.layers import LowRankSegmentationHead
    from tf_structvae.models.segmentation_loss import SegmentationLogLikelihood

    keras.utils.set_random_seed(problem["seed"])
    train = draw_annotated_shapes(problem["images"], seed=2 * problem["seed"])
    test = draw_annotated_shapes(_TEST, seed=2 * problem["seed"] + 1)
    conv = {"padding": "same", "activation": "relu"}
    model = keras.Sequential(
        [
            keras.Input(train.images.shape[1:]),
            keras.layers.Conv2D(16, 5, 2, **conv),
            keras.layers.Conv2D(32, 5, 2, **conv),
            keras.layers.Conv2D(32, 5, **conv),
            keras.layers.Conv2DTranspose(32, 5, 2, **conv),
            keras.layers.Conv2DTranspose(16, 5, 2, **conv),
            LowRankSegmentationHead(2, HEADS[problem["head"]]),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), SegmentationLogLikelihood())
    model.fit(train.images, train.labels, epochs=problem["epochs"], verbose=0)

    p = model(test.images)
    labels = test.labels.reshape(_TEST, -1, test.labels.shape[-1])
    log_prob = np.mean(
        [
            model(test.images[k : k + 50]).log_likelihoods(labels[k : k + 50], _DRAWS, seed=(k, 0))
            for k in range(0, _TEST, 50)
        ]
    )
    maps = np.asarray(p.sample_maps(_SAMPLES, seed=(problem["seed"], 1)))
    pairs = [(maps[:, i], labels[i].T) for i in range(_TEST)]

    def mean(score):
        return float(np.mean([score(samples, annotations) for samples, annotations in pairs]))

    return {
        "log_prob": float(log_prob),
        "distance": mean(segmentation.generalised_energy_distance),
        "matching": mean(segmentation.hungarian_iou),
        "diversity": mean(lambda samples, _: segmentation.diversity(samples)),
        "diversity_of_annotations": mean(
            lambda _, annotations: segmentation.diversity(annotations)
        ),
    }


def jobs(quick: bool) -> list[dict]:
    """Both heads, three seeds."""
    size = {"epochs": 2, "images": 200} if quick else {"epochs": 15, "images": 1500}
    return [
        {"suite": "segmentation", "problem": {"head": head, "seed": seed, **size}}
        for seed in range(1 if quick else 3)
        for head in HEADS
    ]


def table(results: list[dict]) -> str:
    """A Markdown table, a row a run."""
    titles = (
        "logits|seed|log p / nats an annotation|generalised energy distance|HM-IoU|"
        "diversity of samples|of annotations"
    )
    names = ("distance", "matching", "diversity", "diversity_of_annotations")
    rows = []
    for r in results:
        head = [r["problem"]["head"], r["problem"]["seed"]]
        if "error" in r:
            rows.append([*head, r["error"]])
        else:
            rows.append([*head, f"{r['log_prob']:.1f}", *(f"{r[n]:.3f}" for n in names)])
    return markdown.table(titles.split("|"), rows)
