#!/bin/sh
# A mirror of Debian in small: Debian's own signed index, and the packages of a Docker. Runs while the image is built.
set -eu
from=http://deb.debian.org/debian
suite=bookworm
arch=$(dpkg --print-architecture)
root=/srv/mirror/debian

fetch() {
    mkdir -p "$root/$(dirname "$1")"
    # apt writes + ~ : in a URL as hex digits; a file has its own name.
    curl -fsS -o "$root/$(printf '%s' "$1" | sed 's/%2b/+/g; s/%7e/~/g; s/%3a/:/g')" "$from/$1"
}

fetch "dists/$suite/InRelease"
fetch "dists/$suite/main/binary-$arch/Packages.xz"
apt-get update -qq
apt-get install -qq --print-uris --no-install-recommends docker.io docker-compose | tr -d "'" |
    while read -r uri _; do
        fetch "${uri#"$from/"}"
    done
# It is where this server gets packages from; without translations, which it doesn't have.
echo "deb http://127.0.0.1:8099/debian $suite main" >/etc/apt/sources.list
echo 'Acquire::Languages "none";' >/etc/apt/apt.conf.d/99lab
rm -rf /var/lib/apt/lists/*
