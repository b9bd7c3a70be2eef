#!/bin/sh
# One binary for every torch: builds a wheel with the torch that is installed here, installs that wheel beside
# another torch release, and runs the operator tests there. Slow and large (the CUDA build of torch is 5.5 GB on
# disk), hence not part of `make test`.
#
#   PYTHON        interpreter with torch and the build tools (default .venv/bin/python)
#   COMPAT_TORCH  what to run under (default torch==2.14.1)
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
other=${COMPAT_TORCH:-torch==2.14.1}

echo "== wheel, built with $("$python" -c 'import torch; print("torch", torch.__version__)')"
rm -rf build/compat && mkdir -p build/compat
"$python" -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/compat .

echo "== environment with $other"
rm -rf .venv-compat
"$python" -m venv .venv-compat
.venv-compat/bin/python -m pip install --quiet "$other" numpy scipy pytest expecttest safetensors typer rich
.venv-compat/bin/python -m pip install --quiet --no-deps build/compat/cdifast-*.whl

# From elsewhere, so that the installed package is tested and not the source tree.
tests=$(pwd)/tests
cd build/compat
echo "== operator tests under $(../../.venv-compat/bin/python -c 'import torch; print("torch", torch.__version__)')"
../../.venv-compat/bin/python -m pytest --rootdir="$tests" -c /dev/null --strict-markers -o "markers=gpu: needs a CUDA device" \
  -p no:cacheprovider "$tests/ops" "$tests/nn/test_layers.py"
