"""The rules that are built into Bazel, under the names of rules_python."""

load("@bazel_tools//tools/python:toolchain.bzl", _py_runtime_pair = "py_runtime_pair")

# buildifier: disable=native-python
py_binary = native.py_binary

# buildifier: disable=native-python
py_library = native.py_library

# buildifier: disable=native-python
py_runtime = native.py_runtime

py_runtime_pair = _py_runtime_pair

# buildifier: disable=native-python
py_test = native.py_test
