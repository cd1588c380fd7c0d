"""The few operations of PyTorch that the reference of Inception's wiring needs, in NumPy."""

from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

float32 = np.float32


class _Tensor(np.ndarray):
    def permute(self, *axes):
        return self.transpose(*axes)

    def numpy(self):
        return np.asarray(self)


def tensor(value, dtype=float32):
    return np.array(value, dtype).view(_Tensor)


def cat(parts, axis):
    return np.concatenate(parts, axis).view(_Tensor)


def _windows(x, kernel, stride, padding, fill=0.0):
    """[B, C, H, W] -> [B, C, H', W', kernel height, kernel width]."""
    kernel, padding = np.broadcast_to(kernel, 2), np.broadcast_to(padding, 2)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    return sliding_window_view(x, tuple(kernel), (2, 3))[:, :, ::stride, ::stride]


def _conv2d(x, kernel, stride=1, padding=0):
    windows = _windows(x, kernel.shape[2:], stride, padding)
    found = np.tensordot(windows, kernel, ([1, 4, 5], [1, 2, 3]))
    return found.transpose(0, 3, 1, 2).view(_Tensor)


def _max_pool2d(x, size, stride, padding=0):
    return _windows(x, size, stride, padding, -np.inf).max((4, 5)).view(_Tensor)


def _avg_pool2d(x, size, stride, padding, count_include_pad):
    counted = _windows(np.ones_like(x), size, stride, padding, float(count_include_pad))
    sums = _windows(x, size, stride, padding).sum((4, 5))
    return (sums / counted.sum((4, 5))).view(_Tensor)


def _batch_norm(x, mean, variance, weight, bias, eps):
    mean, variance, weight, bias = (v[:, None, None] for v in (mean, variance, weight, bias))
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def _interpolate(x, size, mode, align_corners):
    """Pixel i lies at i + 1/2; beyond the outermost there is what they are."""
    assert (mode, align_corners) == ("bilinear", False)
    for axis, wanted in zip((2, 3), size, strict=True):
        count = x.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * count / wanted - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        high = np.minimum(low + 1, count - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(float32).view(_Tensor)


nn = SimpleNamespace(
    functional=SimpleNamespace(
        conv2d=_conv2d,
        max_pool2d=_max_pool2d,
        avg_pool2d=_avg_pool2d,
        batch_norm=_batch_norm,
        interpolate=_interpolate,
        relu=lambda x: np.maximum(x, 0),
    )
)
