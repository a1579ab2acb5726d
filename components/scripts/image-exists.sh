#!/bin/sh
# Whether an image can be run: prints `here`, `registry`, `missing`, or `unknown` where nobody can tell. $1: the image.
# Pulumi's docker provider finds out in `up` only, half-way through.
set -eu
image=$1
if docker image inspect "$image" >/dev/null 2>&1; then
    echo here
elif ! docker version >/dev/null 2>&1; then
    echo unknown
elif docker manifest inspect "$image" >/dev/null 2>&1; then
    echo registry
else
    echo missing
fi
