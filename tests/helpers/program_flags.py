"""Programs imported afresh, so that several with flags of one name can be looked at."""

import contextlib
import importlib
import sys

from absl import app, flags

app.define_help_flags()  # once a process, as what `logging` defines


@contextlib.contextmanager
def program(called):
    """The module of a program, whose flags are known within the block alone."""
    full = f"tf_structvae.programs.{called}"
    # other files of tests import programs, too
    others = {
        module: list(found)
        for module, found in flags.FLAGS.flags_by_module_dict().items()
        if module.startswith("tf_structvae.programs.")
    }
    imported = sys.modules.pop(full, None)
    _forget({flag.name for found in others.values() for flag in found})
    try:
        yield importlib.import_module(full)
    finally:
        _forget({flag.name for flag in flags.FLAGS.flags_by_module_dict().get(full, ())})
        flags.FLAGS.unparse_flags()
        sys.modules.pop(full, None)
        package = sys.modules["tf_structvae.programs"]
        vars(package).pop(called, None)  # an import from the package would find it there
        if imported is not None:
            sys.modules[full] = imported
            setattr(package, called, imported)
        for module, found in others.items():
            for flag in found:
                flags.FLAGS[flag.name] = flag
                flags.FLAGS.register_flag_by_module(module, flag)


def _forget(names):
    """Removes flags, and the overrides that a config file defines."""
    for name in names | {name for name in flags.FLAGS if name.startswith("config")}:
        if name in flags.FLAGS:
            delattr(flags.FLAGS, name)
