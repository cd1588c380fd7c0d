"""Configs of small models for the preflight."""

from tf_structvae.training import config as config_lib


def small(**changes):
    """The default network, smaller; `changes` by path, "." written "__"."""
    c = config_lib.default()
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return c


def tiny():
    return small(
        model__encoder__stages=((4, 2),), model__decoder__stages=((4, 2),), train__batch_size=2
    )
