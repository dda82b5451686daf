"""py_library, py_binary and py_test as the BUILD files of this project use them.

No target names TensorFlow or another package from PyPI: they come with the
interpreter (see python.bzl).
"""

load(
    "@rules_python//python:defs.bzl",
    _py_binary = "py_binary",
    _py_library = "py_library",
    _py_test = "py_test",
)

_PYTEST_MAIN = "//tools/build_defs:pytest_main.py"

py_library = _py_library

def py_binary(name, **kwargs):
    """A program. No __init__.py is made up for it: see py_test.

    Args:
      name: the file without .py.
      **kwargs: as of Bazel's py_binary.
    """
    _py_binary(name = name, legacy_create_init = 0, **kwargs)

def py_test(name, srcs, args = [], deps = [], timeout = "long", **kwargs):
    """Runs pytest on one file of test functions.

    Bazel must not put an __init__.py into the folder of the workspace: it would
    hide the package of the same name inside.

    Args:
      name: the file without .py.
      srcs: that one file.
      args: more arguments for pytest, as `bazel test --test_arg=` gives them.
      deps: what the file imports, and every conftest on the way to it.
      timeout: importing TensorFlow alone takes up to a minute on a busy machine.
      **kwargs: as of Bazel's py_test.
    """
    _py_test(
        name = name,
        srcs = srcs + [_PYTEST_MAIN],
        args = ["$(rootpath %s)" % src for src in srcs] + args,
        legacy_create_init = 0,
        main = _PYTEST_MAIN,
        timeout = timeout,
        deps = deps + ["//tools/build_defs:pytest_main"],
        **kwargs
    )
