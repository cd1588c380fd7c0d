"""The sparse triangular factor on a grid against dense matrices, derivatives included."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from dense_local import dense_operator, random_parts

from tf_structvae.distributions.local.operator import LocalOperator
from tf_structvae.distributions.local.window import Window

CASES = [
    ((6, 5, 1), 1), ((5, 4, 3), 1), ((6, 7, 2), 2), ((7, 2), 2), ((1, 1, 3), 1),
    ((3, 4, 3, 2), 1), ((4, 3, 2), 0), ((16, 16, 3), 1),
]  # fmt: skip


def make(grid, radius, batch=(2,), shared=False):
    window = Window(grid, radius)
    parts = random_parts(window, batch, shared=shared)
    return LocalOperator(window, *map(tf.constant, parts)), dense_operator(window, *parts)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("grid", "radius"), CASES)
def test_products_and_solves_are_the_dense_ones(grid, radius, shared):
    a, dense = make(grid, radius, shared=shared)
    x = np.random.default_rng(1).normal(size=(2, a.window.size, 3))
    transposed = dense.swapaxes(1, 2)
    for found, wanted in (
        (a.matmul(x), dense @ x),
        (a.matmul_transposed(x), transposed @ x),
        (a.solve(x), np.linalg.solve(dense, x)),
        (a.solve_transposed(x), np.linalg.solve(transposed, x)),
        (a.log_det(), np.linalg.slogdet(dense)[1]),
        (a.column_squares(), np.sum(dense**2, axis=1)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def _with(a, tensors):
    names = ("neighbours", "channels", "scale")
    return dataclasses.replace(a, **dict(zip(names, tensors, strict=True)))


def _values(a, name, tensors, x):
    """What a method gives, and the same of TensorFlow's operations on matrices, [N, 2] each."""
    own = _with(a, tensors)
    matrix = own.matmul(tf.eye(24, dtype=tf.float64))
    matrix = tf.transpose(matrix) if name.endswith("transposed") else matrix
    slow = tf.linalg.solve(matrix, x) if name.startswith("solve") else tf.matmul(matrix, x)
    return getattr(own, name)(x), slow


@pytest.mark.parametrize("name", ["matmul", "matmul_transposed", "solve", "solve_transposed"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_derivatives_are_those_of_the_dense_formula(name, shared, graph):
    """The first and, of a squared length of it, the second."""
    a, _ = make((4, 3, 2), 1, (), shared)
    rng = np.random.default_rng(2)
    x, weights = (tf.constant(rng.normal(size=(24, 2))) for _ in range(2))
    given = [a.neighbours, a.channels, a.scale, x]

    def derivatives(*given):
        found = []
        for which in (0, 1):
            with tf.GradientTape() as outer:
                outer.watch(given)
                with tf.GradientTape() as inner:
                    inner.watch(given)
                    value = _values(a, name, given[:3], given[3])[which]
                    total = tf.reduce_sum(weights * value)
                first = inner.gradient(total, given)
                length = tf.add_n([tf.reduce_sum(g**2) for g in first])
            found.append((first, outer.gradient(length, given)))
        return found

    run = tf.function(derivatives) if graph else derivatives
    for found, wanted in zip(*run(*given), strict=True):
        for f, w in zip(found, wanted, strict=True):
            assert np.abs(w).max() > 0.1
            np.testing.assert_allclose(f, w, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shared", [False, True])
def test_fused_products_are_the_others(shared):
    a, dense = make((5, 4, 3), 1, shared=shared)
    fused = dataclasses.replace(a, fused=True)
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 60, 3)))
    found = []
    for own in (a, fused):
        with tf.GradientTape() as tape:
            tape.watch([own.neighbours, own.channels, x])
            y = own.matmul(x)
            total = tf.reduce_sum(y**3)
        found.append([y, *tape.gradient(total, [own.neighbours, own.channels, x])])
    for f, w in zip(*found, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found[1][0], dense @ x.numpy(), atol=1e-10)


def test_batches_broadcast():
    a, dense = make((3, 4, 2), 1, ())
    x = np.random.default_rng(1).normal(size=(5, 24, 1))
    np.testing.assert_allclose(a.solve(x), np.linalg.solve(dense, x), atol=1e-9)
    np.testing.assert_allclose(a.solve_transposed(x), np.linalg.solve(dense.T, x), atol=1e-9)
    several, dense = make((3, 4, 2), 1, (5,))
    np.testing.assert_allclose(several.solve(x[:1]), np.linalg.solve(dense, x[:1]), atol=1e-9)
    with tf.GradientTape() as tape:
        given = tf.constant(x[0])
        tape.watch(given)
        total = tf.reduce_sum(several.solve(given))
    wanted = np.linalg.solve(dense.swapaxes(1, 2), np.ones_like(x)).sum(0)
    np.testing.assert_allclose(tape.gradient(total, given), wanted, atol=1e-9)


def test_predecessors_are_those_before_in_raster_order():
    assert Window((5, 5, 3), 1).offsets == [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    assert len(Window((5, 5, 3), 2).offsets) == 12
    assert len(Window((5, 5, 5, 1), 1).offsets) == 13
    assert Window((5, 2), 2).offsets == [(-2,), (-1,)]
    assert Window((5, 5, 1), 0).offsets == []


@pytest.mark.parametrize(
    ("grid", "radius", "message"),
    [
        ((5,), 1, "grid must be 1 to 3 numbers"),
        ((5, 0, 1), 1, "grid must be 1 to 3 numbers"),
        ((2, 2, 2, 2, 2), 1, "grid must be 1 to 3 numbers"),
        ((5, 5, 1), -1, "radius"),
    ],
)
def test_wrong_windows_are_errors(grid, radius, message):
    with pytest.raises(ValueError, match=message):
        Window(grid, radius)
