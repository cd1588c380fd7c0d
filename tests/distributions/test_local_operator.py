"""The sparse triangular factor on a grid against dense matrices, derivatives included."""

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


def make(grid, radius, batch=(2,)):
    window = Window(grid, radius)
    parts = random_parts(window, batch)
    return LocalOperator(window, *map(tf.constant, parts)), dense_operator(window, *parts)


@pytest.mark.parametrize(("grid", "radius"), CASES)
def test_products_and_solves_are_the_dense_ones(grid, radius):
    a, dense = make(grid, radius)
    x = np.random.default_rng(1).normal(size=(2, a.window.size, 3))
    transposed = dense.swapaxes(1, 2)
    for found, wanted in (
        (a.matmul(x), dense @ x),
        (a.matmul_transposed(x), transposed @ x),
        (a.solve(x), np.linalg.solve(dense, x)),
        (a.solve_transposed(x), np.linalg.solve(transposed, x)),
        (a.log_det(), np.linalg.slogdet(dense)[1]),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["matmul", "matmul_transposed", "solve", "solve_transposed"])
@pytest.mark.parametrize("graph", [False, True])
def test_derivatives_are_those_of_the_dense_formula(name, graph):
    a, _ = make((4, 3, 2), 1, ())
    rng = np.random.default_rng(2)
    x, weights = (tf.constant(rng.normal(size=(24, 2))) for _ in range(2))

    def dense(tensors):
        """The same A of TensorFlow's operations on matrices."""
        own = a._of(tensors)
        return own.matmul(tf.eye(24, dtype=tf.float64))

    def both(tensors, x):
        found = getattr(a._of(tensors), name)(x)
        matrix = dense(tensors)
        matrix = tf.transpose(matrix) if name.endswith("transposed") else matrix
        slow = tf.linalg.solve(matrix, x) if name.startswith("solve") else tf.matmul(matrix, x)
        return tf.reduce_sum(weights * found), tf.reduce_sum(weights * slow)

    def gradients(tensors, x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([*tensors, x])
            values = both(tensors, x)
        return [tape.gradient(v, [*tensors, x]) for v in values]

    run = tf.function(gradients) if graph else gradients
    found, wanted = run(a.tensors, x)
    for f, w in zip(found, wanted, strict=True):
        assert np.abs(w).max() > 0.1
        np.testing.assert_allclose(f, w, rtol=1e-8, atol=1e-8)


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
