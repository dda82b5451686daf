"""The interpreter that runs py_binary and py_test, with all its packages."""

_BUILD = """\
load("@rules_python//python:defs.bzl", "py_runtime", "py_runtime_pair")

py_runtime(
    name = "py3_runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":py3_runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@rules_python//python:toolchain_type",
)
"""

def _local_python_impl(ctx):
    root = ctx.path(Label("//tools/build_defs:python.bzl")).dirname.dirname.dirname
    venv = root.get_child(".venv").get_child("bin").get_child("python")
    python = ctx.os.environ.get("TF_TOKENLEARNER_PYTHON")
    if not python and venv.exists:
        # As it stands, not resolved: .venv/bin/python is a link, and only under
        # this name does Python find the packages of the .venv.
        python = str(venv)
    if not python:
        python = ctx.which("python3")
    if not python:
        fail("No Python found: there is no .venv/bin/python and no python3 on " +
             "the PATH. Set TF_TOKENLEARNER_PYTHON to an interpreter that has " +
             "the packages of setup.py.")
    ctx.file("BUILD", _BUILD.format(python = python))

local_python = repository_rule(
    implementation = _local_python_impl,
    doc = "A toolchain around $TF_TOKENLEARNER_PYTHON, .venv/bin/python or python3.",
    configure = True,
    environ = ["PATH", "TF_TOKENLEARNER_PYTHON"],
    local = True,
)
