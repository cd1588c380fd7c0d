"""What a worker of several does, with the others made up."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.training import cluster


@pytest.fixture
def worker(monkeypatch):
    """A function that makes this process one of two workers; the values it gathers."""

    def be(index, others=1):
        sent = []

        def gather(strategy, value):
            sent.append(value)
            return [others, value] if index else [value, others]

        monkeypatch.setattr(cluster, "_workers", lambda strategy: (index, 2))
        monkeypatch.setattr(cluster, "gather", gather)
        return sent

    return be


def test_gathering_is_of_the_replicas():
    strategy = tf.distribute.get_strategy()
    assert cluster.gather(strategy, 5) == [5]
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster, "_workers", lambda strategy: (0, 2))
            assert cluster.gather(strategy, 7) == [7]  # one replica, whatever is said
    finally:
        tf.config.run_functions_eagerly(False)


def test_the_chief_comes_first_and_tells_how_it_ended(worker):
    sent = worker(0)
    with cluster.chief_first(None):
        assert sent == []  # the others wait
    assert sent == [1]
    sent = worker(0)
    with pytest.raises(ValueError, match="no data"), cluster.chief_first(None):
        raise ValueError("no data")
    assert sent == [0]


def test_the_others_wait_for_the_chief(worker):
    sent, done = worker(1), []
    with cluster.chief_first(None):
        done.append(list(sent))
    assert done == [[1]]
    worker(1, others=0)
    with (
        pytest.raises(ConnectionError, match="worker 0 failed; its messages say why"),
        cluster.chief_first(None),
    ):
        done.append("more")
    assert len(done) == 1


def test_a_lost_worker_is_named(worker):
    def lose():
        with cluster.losses_named(tf.distribute.get_strategy()):
            raise tf.errors.UnavailableError(None, None, "socket closed")

    with pytest.raises(tf.errors.UnavailableError, match="socket closed"):
        lose()
    worker(1)
    with pytest.raises(ConnectionError, match=r"another worker is gone; .* --resume"):
        lose()


def test_each_worker_gets_its_part_for_its_replicas(worker):
    """Worker 1 of 2 with two replicas each: the second half of each batch, in two parts."""
    worker(1)
    context = SimpleNamespace(
        input_pipeline_id=1, num_input_pipelines=2, num_replicas_in_sync=4
    )  # fmt: skip
    strategy = SimpleNamespace(distribute_datasets_from_function=lambda made: made(context))

    def batches(shard):
        index, count = shard
        return tf.data.Dataset.range(16).batch(8).map(lambda b: tf.split(b, count)[index])

    found = [b.tolist() for b in cluster.distribute(strategy, batches).as_numpy_iterator()]
    assert found == [[4, 5], [6, 7], [12, 13], [14, 15]]


def test_labels_are_split_with_their_images():
    batches = tf.data.Dataset.range(6).batch(3).map(lambda b: (tf.cast(b, tf.float32), 10 * b))
    parts = list(cluster.split(batches, 2).as_numpy_iterator())
    assert len(parts) == 4
    for images, labels in parts:
        np.testing.assert_array_equal(labels, 10 * images)
    assert [x for images, _ in parts for x in images] == list(range(6))
