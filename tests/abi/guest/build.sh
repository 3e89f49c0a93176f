#!/bin/sh
# Builds the components of the current ABI's version: tests/abi/guest/build.sh, once, when it is released.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's/^package pipewright:plugin@\(.*\);$/\1/p' ../../../wit/plugin.wit)
for category in source build test deploy approval invoke rule; do
    cargo build --quiet --release --target wasm32-wasip2 --features "$category" --target-dir ../../../target/abi
    mkdir -p "../$version/$category"
    cp ../../../target/abi/wasm32-wasip2/release/abi_guest.wasm "../$version/$category/plugin.wasm"
done
