#!/bin/bash
# Runs tests/smoke.py on the Pythons that .venv does not have, each in an
# environment of its own such as .venv-3.12.
#
#   tools/test_pythons.sh              each of 3.12, 3.13 and 3.10 that is found
#   tools/test_pythons.sh --first      the first of them
#   tools/test_pythons.sh PYTHON...    these interpreters
#
# Pythons are looked up on the PATH and in ~/.pyenv. Needs .venv ('make install').
set -euo pipefail
cd "$(dirname "$0")/.."

version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

found=()
for wanted in 3.12 3.13 3.10; do
  for python in "python$wanted" "$HOME/.pyenv/versions/$wanted".*/bin/python; do
    if [ "$(version "$python")" = "$wanted" ]; then
      found+=("$python")
      break
    fi
  done
done
if [ "${1:-}" = --first ]; then
  found=("${found[@]:0:1}")
elif [ $# -gt 0 ]; then
  found=("$@")
fi
if [ ${#found[@]} = 0 ]; then
  echo 'test_pythons.sh: found no Python 3.12, 3.13 or 3.10; nothing was run.'
  exit
fi

for python in "${found[@]}"; do
  folder=.venv-$(version "$python") || {
    echo "test_pythons.sh: $python is no Python." >&2
    exit 2
  }
  .venv/bin/uv venv --quiet --allow-existing --python "$python" "$folder"
  .venv/bin/uv pip install --quiet --python "$folder/bin/python" \
    --constraint constraints.txt --editable '.[addons,orbax,tflite]'
  "$folder/bin/python" tests/smoke.py
done
