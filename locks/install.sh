#!/bin/sh
# Make an environment from locks/dev.txt: `locks/install.sh PYTHON FOLDER`. pip fetches uv, and uv the packages.
set -eu
cd "$(dirname "$0")/.."
python=$1
venv=$2

stop() {
  echo "$1" >&2
  exit 1
}

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
  stop "RaGAN needs Python 3.11, 3.12 or 3.13. Received $python: $("$python" --version 2>&1). Name another one: make setup PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  stop "Python's venv module is missing. Install it first, on Debian and Ubuntu: apt-get install python3-venv"

install() {
  "$venv/bin/python" -m uv pip install --python "$venv/bin/python" "$@"
}

echo "Setting up $venv with $("$python" --version): 1/3 uv, which installs the packages"
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
echo "Setting up $venv: 2/3 packages of locks/dev.txt, 2.6 GB on the disk"
# KFP's server API comes as source: what builds it has a version and a hash too.
install --require-hashes --build-constraints locks/dev.txt -r locks/dev.txt
echo "Setting up $venv: 3/3 RaGAN itself"
install --no-deps --no-build-isolation --editable .
