import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.distributions import linalg


def numeric_gradient(function, arguments, index, step=1e-6):
    """Central differences of a scalar float64 function for one argument."""
    x = arguments[index]
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[i] += sign * step
            values.append(float(function(*arguments[:index], moved, *arguments[index + 1 :])))
        gradient[i] = (values[0] - values[1]) / (2 * step)
    return gradient


@pytest.mark.parametrize("n", [1, 7, 128, 129, 508, 997])
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_cross_gram_sums_blocks_of_any_length(n, batch):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(*batch, n, 4)).astype(np.float32)
    y = rng.normal(size=(n, 5)).astype(np.float32)
    expected = np.swapaxes(x, -1, -2).astype(np.float64) @ y.astype(np.float64)
    got = linalg.cross_gram(tf.constant(x), tf.constant(y))
    assert got.dtype == tf.float64
    # products of unit normals: rounding of a float32 block sum, added over the blocks
    np.testing.assert_allclose(got, expected, atol=6e-8 * n**0.5 * 16)


def test_gram_with_unknown_length_equals_the_static_one():
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 333, 3)), tf.float32)
    dynamic = tf.function(
        lambda x: linalg.gram(x)[0], input_signature=[tf.TensorSpec([None, None, 3])]
    )
    np.testing.assert_allclose(dynamic(x), linalg.gram(x)[0], rtol=1e-5, atol=1e-4)


def test_float32_gram_is_near_the_float64_one_at_the_size_of_an_image():
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(116412, 3)) * [1.0, 1e-2, 1e-4]).astype(np.float32)
    exact = x.astype(np.float64).T @ x.astype(np.float64)
    error = np.abs(linalg.gram(tf.constant(x))[0].numpy() - exact)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (error / scale).max() < 1e-7


@pytest.mark.parametrize("batches", [((), ()), ((2,), (2,)), ((2,), ()), ((2, 1), (3,))])
def test_cross_gram_gradients_with_broadcasting(batches):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(*batches[0], 5, 2))
    y = rng.normal(size=(*batches[1], 5, 3))
    weight = rng.normal(size=(*np.broadcast_shapes(*batches), 2, 3))

    def value(x, y):
        return tf.reduce_sum(linalg.cross_gram(tf.constant(x), tf.constant(y)) * weight)

    with tf.GradientTape() as tape:
        tx, ty = tf.constant(x), tf.constant(y)
        tape.watch([tx, ty])
        total = tf.reduce_sum(linalg.cross_gram(tx, ty) * weight)
    for got, index in zip(tape.gradient(total, [tx, ty]), (0, 1), strict=True):
        np.testing.assert_allclose(got, numeric_gradient(value, [x, y], index), atol=1e-7)


def test_second_derivative_of_log_det():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 3))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            m = linalg.capacitance(linalg.gram(x)[0])
            value = linalg.log_det(m, tf.linalg.cholesky(m))
        return tape.gradient(value, x)

    ours, theirs = tf.test.compute_gradient(gradient, [tf.constant(x)])
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    expected = 2 * x @ np.linalg.inv(np.eye(3) + x.T @ x)
    np.testing.assert_allclose(gradient(tf.constant(x)), expected, atol=1e-12)


def test_inverse_root_is_a_root_of_the_inverse():
    a = np.random.default_rng(4).normal(size=(2, 5, 5))
    m = np.eye(5) + a @ np.swapaxes(a, -1, -2)
    cholesky = tf.linalg.cholesky(m)
    root = linalg.inverse_root(cholesky).numpy()
    np.testing.assert_allclose(root @ np.swapaxes(root, -1, -2), np.linalg.inv(m), atol=1e-12)
    np.testing.assert_allclose(linalg.cholesky_inverse(cholesky), np.linalg.inv(m), atol=1e-12)


@pytest.mark.parametrize("n", [3, 256, 1000, 1009])
def test_sum_of_squares(n):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, n, 3)).astype(np.float32)
    w = rng.uniform(size=(2, n)).astype(np.float32)
    exact = (x.astype(np.float64) ** 2).sum(1)
    np.testing.assert_allclose(linalg.sum_of_squares(tf.constant(x)), exact, rtol=1e-6)
    exact = (w[..., None].astype(np.float64) * x.astype(np.float64) ** 2).sum(1)
    got = linalg.sum_of_squares(tf.constant(x), tf.constant(w))
    np.testing.assert_allclose(got, exact, rtol=1e-6)
