#!/bin/sh
# Resolve every lock file anew. They name no server and carry the hash of each file.
set -eu
cd "$(dirname "$0")/.."

resolve() {
  output=$1
  shift
  uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
    --output-file "$output" "$@"
}

# A laptop has Python 3.11, 3.12 or 3.13, on Linux, macOS or Windows: one file for all of them.
resolve locks/uv.txt locks/uv.in --universal "$@"
resolve locks/dev.txt pyproject.toml locks/dev.in --universal --extra jax --extra cloud --extra kubeflow --extra dev "$@"
# The images hold the versions that the tests run with, for the one Python that is in them.
set -- --constraint locks/dev.txt "$@"
resolve locks/image-cpu.txt pyproject.toml --extra cloud "$@"
for variant in tensorflow-none tensorflow-cuda jax-none jax-cuda; do
  resolve "locks/image-gpu-$variant.txt" pyproject.toml "locks/image-$variant.in" --extra cloud "$@"
done
resolve locks/image-kfp.txt locks/image-kfp.in --no-deps "$@"
resolve locks/image-build.txt locks/image-build.in "$@"
