"""Forward substitution on a grid: pixels of one wavefront do not depend on each other."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.local.window import Window


def substitute(window: Window, neighbours: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """y with y_i - sum_j w_ij y_j = x_i: about W + (r + 1) H steps for an image of H x W.

    Pixel (y, x) is on wavefront t = x + (r + 1) y, so that a wavefront has one pixel of each row at
    most, and its predecessors are on the last few wavefronts, which are all that a step keeps.

    Args:
      window: grid and predecessors.
      neighbours: w, [..., *space, C, J, C].
      image: x, [..., *space, C, K].
    """
    space = len(window.space)
    batch = tf.broadcast_dynamic_shape(
        tf.shape(image)[: -(space + 2)], tf.shape(neighbours)[: -(space + 3)]
    )
    at, used = _positions(window)
    rows = at.shape[1]

    def skewed(tensor, behind):
        """[..., *space, *rest] -> [T, rows, prod(batch), *rest], zero where there is no pixel."""
        rest = tf.shape(tensor)[tf.rank(tensor) - behind :]
        whole = tf.concat([batch, window.space, rest], 0)
        flat = tf.concat([[-1, int(np.prod(window.space))], rest], 0)
        tensor = tf.reshape(tf.broadcast_to(tensor, whole), flat)
        tensor = tf.transpose(tensor, [1, 0, *range(2, 2 + behind)])
        return tf.gather(tensor, at) * tf.cast(_expand(used, 1 + behind), tensor.dtype)

    x, w = skewed(image, 2), skewed(neighbours, 3)
    depth, sources = _sources(window)
    pad = window.radius
    lines = window.space[:-1]
    padded_rows = int(np.prod([n + 2 * pad for n in lines], dtype=int))

    def widen(front):
        """[rows, ...] -> with empty rows around, so that a neighbour is a slice."""
        if not lines or not pad:
            return front
        shape = tf.shape(front)[1:]
        front = tf.reshape(front, tf.concat([lines, shape], 0))
        front = tf.pad(front, [(pad, pad)] * len(lines) + [(0, 0)] * 3)
        return tf.reshape(front, tf.concat([[padded_rows], shape], 0))

    def step(t, past, written):
        seen = [_slice(past[back - 1], window, shift) for back, shift in sources]
        stacked = tf.stack(seen, axis=-3)  # [rows, B, J, C, K]
        weights = w[t]  # [rows, B, C, J, C]
        shape = tf.shape(weights)
        flat = tf.reshape(weights, tf.concat([shape[:3], [shape[3] * shape[4]]], 0))
        columns = tf.shape(stacked)
        values = tf.reshape(
            stacked, tf.concat([columns[:2], [columns[2] * columns[3]], columns[4:]], 0)
        )
        front = x[t] + tf.matmul(flat, values)
        past = tf.concat([widen(front)[tf.newaxis], past[:-1]], 0)
        return t + 1, past, written.write(t, front)

    count = at.shape[0]
    empty = tf.zeros(
        tf.concat([[depth, padded_rows if pad else rows], tf.shape(x)[2:]], 0), x.dtype
    )
    written = tf.TensorArray(x.dtype, count, element_shape=x.shape[1:])
    _, _, written = tf.while_loop(
        lambda t, *_: t < count,
        step,
        (tf.constant(0), empty, written),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([depth, *[None] * 4]), None),
        parallel_iterations=1,
    )
    found = tf.reshape(written.stack(), tf.concat([[count * rows], tf.shape(x)[2:]], 0))
    back = np.zeros(int(np.prod(window.space)), np.int32)
    back[at[used]] = np.flatnonzero(used.ravel())
    found = tf.transpose(tf.gather(found, back), [1, 0, 2, 3])
    shape = tf.concat([batch, window.grid, tf.shape(image)[-1:]], 0)
    return tf.reshape(found, shape)


def _positions(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """For each wavefront and row the number of the pixel there, int [T, rows], and whether there
    is one."""
    lines, width = window.space[:-1], window.space[-1]
    starts = [
        sum(s * y for s, y in zip(window.strides, line, strict=False))
        for line in itertools.product(*map(range, lines))
    ]
    count = max(starts) + width
    x = np.arange(count)[:, np.newaxis] - np.array(starts)
    used = (x >= 0) & (x < width)
    number = np.arange(len(starts)) * width + np.clip(x, 0, width - 1)
    return number.astype(np.int32), used


def _sources(window: Window) -> tuple[int, list[tuple[int, tuple[int, ...]]]]:
    """How many wavefronts are kept, and of each offset how far back and in which row it is."""
    found = []
    for offset in window.offsets:
        back = -sum(s * o for s, o in zip(window.strides, offset, strict=True))
        found.append((back, offset[:-1]))
    return max([back for back, _ in found], default=1), found


def _slice(front: tf.Tensor, window: Window, shift: tuple[int, ...]) -> tf.Tensor:
    """The rows at a shift from each row of a widened wavefront."""
    lines, pad = window.space[:-1], window.radius
    if not lines:
        return front
    shape = tf.shape(front)[1:]
    front = tf.reshape(front, tf.concat([[n + 2 * pad for n in lines], shape], 0))
    own = tuple(slice(pad + o, pad + o + n) for o, n in zip(shift, lines, strict=True))
    return tf.reshape(front[own], tf.concat([[int(np.prod(lines))], shape], 0))


def _expand(x: np.ndarray, count: int) -> np.ndarray:
    return x.reshape(*x.shape, *[1] * count)
