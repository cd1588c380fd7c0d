"""The 2015 Inception network from PyTorch's weights, as pytorch-fid reads them.

It differs from torchvision's and Keras's Inception-v3 (facts from pytorch-fid's `inception.py`):
average pools do not count the padding, the last block has a max pool for its average pool, and
batch norm has epsilon 0.001. Weights keep torchvision's names; widths come from their shapes.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import tensorflow as tf

SIDE = 299
_EPSILON = 1e-3
_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_POOLED = ("branch1x1", "branch_pool")
_SMALL = ("branch5x5_1", "branch5x5_2", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_SEVEN = (
    *(f"branch7x7_{i}" for i in (1, 2, 3)),
    *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)),
)
_WIDE = (
    *(f"branch3x3_{i}" for i in ("1", "2a", "2b")),
    *(f"branch3x3dbl_{i}" for i in ("1", "2", "3a", "3b")),
)
_BLOCKS = {
    "Mixed_5b": (*_POOLED, *_SMALL),
    "Mixed_5c": (*_POOLED, *_SMALL),
    "Mixed_5d": (*_POOLED, *_SMALL),
    "Mixed_6a": ("branch3x3", *(f"branch3x3dbl_{i}" for i in (1, 2, 3))),
    "Mixed_6b": (*_POOLED, *_SEVEN),
    "Mixed_6c": (*_POOLED, *_SEVEN),
    "Mixed_6d": (*_POOLED, *_SEVEN),
    "Mixed_6e": (*_POOLED, *_SEVEN),
    "Mixed_7a": ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4))),
    "Mixed_7b": (*_POOLED, *_WIDE),
    "Mixed_7c": (*_POOLED, *_WIDE),
}
CONVOLUTIONS = (*_STEM, *(f"{block}.{name}" for block, names in _BLOCKS.items() for name in names))
_OF_EACH = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")

# of a convolution: kernel [H, W, in, out] with the scale of batch norm in it, and offset [out]
Weights = dict[str, tuple[tf.Tensor, tf.Tensor]]


def read(path: Path) -> Weights:
    """Weights of a PyTorch state dict, its batch norms folded into the kernels.

    Raises:
      ValueError: no state dict, or not of this network.
      ImportError: PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} needs PyTorch to be read: pip install 'tf_structvae[benchmark]'; the original "
            "graph file needs nothing."
        ) from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: value.numpy() for name, value in saved.items()}
    except (RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"inception_weights {path} is no PyTorch state dict: {reason}") from error
    wanted = [f"{c}.{part}" for c in CONVOLUTIONS for part in _OF_EACH]
    missing = [name for name in wanted if name not in state]
    if missing:
        raise ValueError(
            f"inception_weights {path} is not of the 2015 network: {len(missing)} of {len(wanted)} "
            f"arrays are missing, such as {missing[0]}."
        )
    return {name: _folded(*(state[f"{name}.{part}"] for part in _OF_EACH)) for name in CONVOLUTIONS}


def _folded(kernel, gamma, beta, mean, variance) -> tuple[tf.Tensor, tf.Tensor]:
    """[out, in, H, W] and batch norm -> kernel [H, W, in, out] and offset [out]."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _EPSILON)
    folded = kernel.transpose(2, 3, 1, 0) * scale
    return tf.constant(folded, tf.float32), tf.constant(beta - mean * scale, tf.float32)


def features(weights: Weights, images: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, 3] in [0, 1] -> the mean over pixels of the last block, [B, F]."""
    x = tf.image.resize(images, [SIDE, SIDE], "bilinear")  # with half pixels, no anti-aliasing
    return tf.reduce_mean(_Network(weights)(2.0 * x - 1.0), axis=[1, 2])


class _Network:
    def __init__(self, weights: Weights):
        self._weights = weights

    def __call__(self, x):
        x = self._conv(x, "Conv2d_1a_3x3", 2, "VALID")
        x = self._conv(x, "Conv2d_2a_3x3", padding="VALID")
        x = _halved(self._conv(x, "Conv2d_2b_3x3"))
        x = self._conv(x, "Conv2d_3b_1x1")
        x = _halved(self._conv(x, "Conv2d_4a_3x3", padding="VALID"))
        for name in _BLOCKS:
            x = self.block(x, name)
        return x

    def block(self, x, name: str):
        """One of `_BLOCKS`."""
        kind = {"Mixed_6a": self._halve_6a, "Mixed_7a": self._halve_7a}
        if name in kind:
            return kind[name](x, name)
        inner = {"5": self._small, "6": self._seven, "7": self._wide}[name[6]]
        pool = tf.nn.max_pool2d if name == "Mixed_7c" else tf.nn.avg_pool2d
        # neither pool counts the padding
        pooled = self._conv(pool(x, 3, 1, "SAME"), f"{name}.branch_pool")
        return tf.concat([self._conv(x, f"{name}.branch1x1"), *inner(x, name), pooled], -1)

    def _conv(self, x, name: str, stride: int = 1, padding: str = "SAME"):
        kernel, offset = self._weights[name]
        return tf.nn.relu(tf.nn.conv2d(x, kernel, stride, padding) + offset)

    def _chain(self, x, block: str, branch: str, parts):
        for part in parts:
            x = self._conv(x, f"{block}.{branch}_{part}")
        return x

    def _small(self, x, b):
        yield self._chain(x, b, "branch5x5", (1, 2))
        yield self._chain(x, b, "branch3x3dbl", (1, 2, 3))

    def _seven(self, x, b):
        yield self._chain(x, b, "branch7x7", (1, 2, 3))
        yield self._chain(x, b, "branch7x7dbl", (1, 2, 3, 4, 5))

    def _wide(self, x, b):
        short = self._conv(x, f"{b}.branch3x3_1")
        long = self._chain(x, b, "branch3x3dbl", (1, 2))
        for y, branch, number in ((short, "branch3x3", 2), (long, "branch3x3dbl", 3)):
            for side in "ab":
                yield self._conv(y, f"{b}.{branch}_{number}{side}")

    def _halve_6a(self, x, b):
        short = self._conv(x, f"{b}.branch3x3", 2, "VALID")
        long = self._chain(x, b, "branch3x3dbl", (1, 2))
        long = self._conv(long, f"{b}.branch3x3dbl_3", 2, "VALID")
        return tf.concat([short, long, _halved(x)], -1)

    def _halve_7a(self, x, b):
        short = self._conv(self._conv(x, f"{b}.branch3x3_1"), f"{b}.branch3x3_2", 2, "VALID")
        long = self._chain(x, b, "branch7x7x3", (1, 2, 3))
        long = self._conv(long, f"{b}.branch7x7x3_4", 2, "VALID")
        return tf.concat([short, long, _halved(x)], -1)


def _halved(x):
    return tf.nn.max_pool2d(x, 3, 2, "VALID")
