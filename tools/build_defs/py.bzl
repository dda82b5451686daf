"""The rules of this project's BUILD files: one target for each package.

All sources come from globs, so that no BUILD file changes when a file is added
or moved. No target names TensorFlow or another package from PyPI: the
interpreter provides them (see python.bzl).
"""

load(
    "@rules_python//python:defs.bzl",
    _py_binary = "py_binary",
    _py_library = "py_library",
    _py_test = "py_test",
)

# The packages of tf_tokenlearner, lowest first. Each may import those before it.
PACKAGES = [
    "layers",
    "backbones",
    "checkpoints",
    "configs",
    "data",
    "tasks",
    "analysis",
    "training",
    "serving",
    "evaluation",
    "prediction",
]

_PYTEST_MAIN = "//tools/build_defs:pytest_main.py"

py_library = _py_library

def py_binary(name, **kwargs):
    """A program.

    Args:
      name: the file without .py.
      **kwargs: passed to Bazel's py_binary.
    """

    # An __init__.py in the root of the workspace, which Bazel would create,
    # hides the package of the same name inside.
    _py_binary(name = name, legacy_create_init = 0, **kwargs)

def package_library():
    """A py_library of all files of a package of tf_tokenlearner."""
    name = native.package_name().split("/")[-1]
    py_library(
        name = name,
        srcs = native.glob(["**/*.py"]),
        data = _data_files(),
        deps = ["//tf_tokenlearner:base"] + [
            "//tf_tokenlearner/" + lower
            for lower in PACKAGES[:PACKAGES.index(name)]
        ],
    )

def test_package(data = [], deps = [], tags = []):
    """A py_library of a test folder's helpers and one py_test of its tests.

    All test files run in one process, because importing TensorFlow takes longer
    than most of them. `bazel test --test_filter=WORDS` runs a part of them.

    Args:
      data: labels of files that the tests read beside those of the folder.
      deps: labels of code that the tests import beside tf_tokenlearner and the
        helpers of all test folders.
      tags: tags of the test.
    """
    tests = native.glob(["test_*.py"])
    name = native.package_name().split("/")[-1]
    py_library(
        name = name,
        testonly = True,
        srcs = native.glob(["*.py"], exclude = tests),
        data = data + _data_files(),
    )
    _py_test(
        name = name + "_test",
        srcs = tests + [_PYTEST_MAIN],
        args = ["$(rootpath %s)" % test for test in tests],
        legacy_create_init = 0,
        main = _PYTEST_MAIN,
        tags = tags,
        timeout = "eternal",
        deps = deps + [
            ":" + name,
            "//tests:helpers",
            "//tf_tokenlearner",
            "//tools/build_defs:pytest_main",
        ],
    )

def _data_files():
    return native.glob(
        ["**/*"],
        exclude = ["**/*.py", "**/*.pyc", "BUILD"],
    )
