#!/bin/sh
# Resolve every lock file anew. They name no server and carry the hash of each file.
set -eu
cd "$(dirname "$0")/.."
uv pip compile pyproject.toml locks/dev.in --extra jax --extra cloud --extra kubeflow --extra dev \
  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --output-file locks/dev.txt "$@"
