"""What an exported model answers to requests that are wrong; and that it lives on."""

import exports
import numpy as np
import pytest
import tensorflow as tf

NAN, INF = np.float32(np.nan), np.float32(np.inf)


def bad(name, key, change):
    request = exports.requests("low_rank")[name]
    return name, request | {key: change(request[key])}


def first_entry(value):
    def change(x):
        x = x.copy()
        x.flat[-1] = value
        return x

    return change


def others(x):
    """The shapes that an input may have by mistake, but for the number of rows."""
    narrow = x[..., :-1] if x.ndim > 1 else x[:, np.newaxis]
    wide = np.concatenate([x, x], -1) if x.ndim > 1 else np.stack([x, x])
    return [narrow, wide, x[..., np.newaxis], x[0]]


def cases():
    """(signature, inputs, (how the error starts, what its first line says then))."""
    for name, request in exports.requests("low_rank").items():
        for key, value in request.items():
            if value.dtype == np.float32:
                for wrong in (NAN, INF, -INF):
                    yield *bad(name, key, first_entry(wrong)), (key, " must be finite")
            for changed in others(value):
                yield name, request | {key: changed}, (key, " must have the shape [B")
            if len(request) > 1:  # the first is the one that the others are held against
                whose = "" if key == next(iter(request)) else key
                twice = np.concatenate([value, value])
                yield name, request | {key: twice}, (whose, " must have as many rows as ")
        if "noise_variance" in request:
            negative = bad(name, "noise_variance", first_entry(-1e-6))
            yield *negative, ("noise_variance", " must not be negative")
    for wrong in (-1, 6):
        pixel = bad("covariance_row", "pixel", lambda x, w=wrong: np.full_like(x, [w, 0]))
        yield *pixel, ("pixel", " must be (row, column) inside the image of 6x5")
    pixel = bad("covariance_row", "pixel", lambda x: np.full_like(x, [0, 5]))
    yield *pixel, ("pixel", " must be (row, column)")
    huge = bad("decode", "latents", first_entry(1e38))
    yield *huge, ("latents", " must not be so large that variances overflow")


def test_errors_name_the_input_and_the_model_lives(tmp_path):
    """By the C API, which feeds whatever it is given; after every error all is as before."""
    _, path = exports.exported("low_rank")
    known = exports.requests("low_rank")["sample"]
    wrong = list(cases())
    assert len(wrong) > 100
    asked = [(name, inputs) for name, inputs, _ in wrong]
    answers = exports.run_c_api(path, [("sample", known), *asked, ("sample", known)], tmp_path)
    for (name, inputs, (start, then)), text in zip(wrong, answers[1:-1], strict=True):
        shapes = {k: v.shape for k, v in inputs.items()}
        assert isinstance(text, str), (name, shapes, start, then)
        assert text.startswith(start), (name, shapes, text)
        assert then in text.splitlines()[0], (name, shapes, text)
    for key, value in answers[0].items():
        np.testing.assert_array_equal(answers[-1][key], value)


def test_python_gets_the_same_errors():
    signature = exports.loaded("low_rank").signatures["decode"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="latents must be finite"):
        signature(latents=tf.fill([1, 3], NAN))
    with pytest.raises(Exception, match="latents"):
        signature(latents=tf.zeros([1, 4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="float"):  # TensorFlow's own
        signature(latents=tf.zeros([1, 3], tf.int32))


def test_values_under_no_mask_do_not_matter():
    name, inputs = bad("condition", "values", lambda x: np.where(x < 0.5, x, 1e30))
    inputs["mask"] = np.zeros_like(inputs["mask"])
    out = exports.loaded("low_rank").signatures[name](**inputs)
    prior = exports.loaded("low_rank").signatures["decode"](latents=inputs["latents"])
    np.testing.assert_allclose(out["variances"], prior["variances"], rtol=1e-4)
