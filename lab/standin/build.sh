#!/bin/sh
# Builds the stand-in node as one static binary: build/standin/evnode-standin, or the file given as first argument.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../build/standin/evnode-standin}
version=${STANDIN_VERSION:-v1.2.3-standin}
revision=${STANDIN_REVISION:-0000000}
mkdir -p "$(dirname "$out")"
cd "$here"
CGO_ENABLED=0 go build -trimpath \
    -ldflags "-s -w -X evnode.dev/standin/internal/cli.Version=$version -X evnode.dev/standin/internal/cli.GitSHA=$revision" \
    -o "$out.new" .
mv "$out.new" "$out"
