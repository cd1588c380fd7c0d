"""What a run is called where its config does not say: as its data are."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict, FieldReference

from tf_structvae.datasets.folder.walk import is_remote
from tf_structvae.datasets.spec import TFDS_PREFIX

_FOLDERS = ("image_folder", "ukbb")  # of anybody's files: their names tell nothing of them


def of_data(name: str, manual_dir: str) -> str:
    """The name of a data set or, of the user's own files, of their folder.

    Args:
      name: see `datasets.Spec`.
      manual_dir: likewise.

    Returns:
      Letters, digits, "_", "-" and ".", of ASCII.
    """
    folder = ""
    if name in _FOLDERS and manual_dir:
        path = manual_dir if is_remote(manual_dir) else os.path.abspath(manual_dir)
        folder = _plain(path.rstrip("/").rpartition("/")[2])
    return folder or _plain(str(name).removeprefix(TFDS_PREFIX))


def _plain(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w.-]+", "_", ascii_text).lstrip(".-").rstrip("_")


class _Operation(NamedTuple):
    """What a reference does with the value it refers to, and with further ones."""

    fn: Callable[..., str]
    args: tuple


def reference(data: ConfigDict) -> FieldReference:
    """A field of a config that is `of_data` of the rest until it is set.

    Args:
      data: `config.data`, whose `name` and `manual_dir` it follows.
    """
    operation = _Operation(of_data, (data.get_ref("manual_dir"),))
    return FieldReference(data.get_ref("name"), field_type=str, op=operation)
