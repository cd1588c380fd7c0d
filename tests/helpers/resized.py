"""Pictures resized by a slow reference."""

import numpy as np


def smooth(height, width, channels=3, seed=0):
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[:height, :width]
    waves = np.zeros((height, width, channels))
    for c in range(channels):
        for fy, fx, phase in rng.uniform(-0.3, 0.3, (5, 3)):
            waves[..., c] += 30 * np.cos(fy * y + fx * x + 20 * phase)
    return np.clip(waves + 128, 0, 255).astype(np.uint8)


def cubic(x):
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    return np.where(x < 1, near, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0.0))


def weights(source, target, start, length):
    """[target, source]: every pixel against every pixel, as the formula says."""
    step = length / target
    at = start + (np.arange(target) + 0.5) * step
    w = cubic((np.arange(source) + 0.5 - at[:, None]) / max(step, 1))
    return w / w.sum(1, keepdims=True)


def reference(image, size, policy):
    """float64, with no rounding between the passes; boxes from the words of the definition."""
    h, w, _ = image.shape
    if policy == "crop":
        scale = max(size[0] / h, size[1] / w)
        box = size[0] / scale, size[1] / scale
        inner = size
    else:
        scale = min(size[0] / h, size[1] / w)
        box = h, w
        inner = size
        if policy == "pad":
            inner = tuple(max(1, int(np.floor(n * scale + 0.5))) for n in (h, w))
    down = weights(h, inner[0], (h - box[0]) / 2, box[0])
    across = weights(w, inner[1], (w - box[1]) / 2, box[1])
    out = np.zeros((*size, image.shape[2]))
    top, left = ((n - i) // 2 for n, i in zip(size, inner, strict=True))
    out[top : top + inner[0], left : left + inner[1]] = np.einsum(
        "ih,jw,hwc->ijc", down, across, image.astype(float), optimize=True
    )
    return np.clip(out, 0, 255)
