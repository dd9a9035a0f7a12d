# Read by ../try-build.sh and ../try-site.sh: images without a registry. The base that the Dockerfile names cannot be pulled where
# there is none, so Debian bookworm, which has the same Python 3.11, stands in for it.
# shellcheck shell=bash

system=bookworm
cache=${CONTAINERS_TRY_CACHE:-/var/tmp/imaging-node-containers}
BASE=localhost/imaging-node-try-base:$system
IMAGE=localhost/imaging-node:try
# shellcheck disable=SC2154  # repository is set by the script that reads this
here=$repository/deploy/containers
# shellcheck source=deploy/clean-root/base.sh
. "$repository/deploy/clean-root/base.sh" # stop, mirror

require_engine() { # more tools that are needed
  [ "$(id -u)" -eq 0 ] || stop "Only root can make a base and run containers here: sudo $0"
  local tool
  for tool in buildah podman catatonit debootstrap "$@"; do
    command -v "$tool" >/dev/null || stop "There is no $tool: apt-get install buildah podman catatonit debootstrap $*"
  done
  mkdir -p "$cache"
  # Inside of a container or sandbox limits cannot be raised; podman wants to by default.
  cat >"$cache/containers.conf" <<TEXT
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=8192:8192"]
log_driver = "k8s-file"
[engine]
events_logger = "file"
TEXT
  export CONTAINERS_CONF=$cache/containers.conf
}

image_is_there() { podman image exists "$1"; }

image_of_packages() { # name, packages: a bare Debian with them
  local name=$1 root
  shift
  if image_is_there "$name"; then return; fi
  root=$(mktemp -d "$cache/root-XXXXXX")
  echo "Making $name: Debian $system with $* ..."
  debootstrap --variant=minbase --include="ca-certificates,tzdata" "$system" "$root" "$(mirror)" >"$cache/debootstrap.log" 2>&1 ||
    stop "debootstrap failed: see $cache/debootstrap.log"
  # How apt of this machine fetches (proxies, time-outs), if it says. No service is started in a root that nobody runs.
  grep -lE '^ *Acquire' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d/" || true
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  { chroot "$root" apt-get update && chroot "$root" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "$@" && chroot "$root" apt-get clean; } >>"$cache/debootstrap.log" 2>&1 ||
    stop "apt-get in the new root failed: see $cache/debootstrap.log"
  local container mounted
  container=$(buildah from scratch)
  mounted=$(buildah mount "$container")
  cp -a "$root/." "$mounted/"
  buildah config --cmd /bin/bash "$container"
  buildah commit --quiet --rm "$container" "$name" >/dev/null
  rm -rf --one-file-system "$root"
}

fetch_wheels() { # lock; with pip of this machine, as it is configured, for the Python and the C library of the base
  local python=$repository/.venv/bin/python minor platforms=()
  local lock=$repository/deploy/lock/$1.txt
  wheels=$cache/wheels-$1
  if sha256sum --status --check "$wheels/.lock" 2>/dev/null; then return; fi
  [ -x "$python" ] || python=python3
  for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_$(uname -m)"); done
  echo "Fetching the packages of the lock ..."
  rm -rf "$wheels"
  "$python" -m pip --quiet download --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform "manylinux2014_$(uname -m)" "${platforms[@]}" --require-hashes \
    --requirement "$lock" --dest "$wheels" >"$cache/wheels.log" 2>&1 ||
    stop "pip could not fetch what the lock names: see $cache/wheels.log"
  sha256sum "$lock" >"$wheels/.lock"
}

make_image() { # the node's, by its own Dockerfile; "gpu": by the other one, on the same base, so that it serves on the CPU here
  local file=Dockerfile lock=runtime
  if [ "${1:-}" = gpu ]; then file=Dockerfile.gpu lock=gpu; fi
  image_of_packages "$BASE" python3 python3-venv
  fetch_wheels "$lock"
  # As a site with an index of its own would: the build sees pip's configuration as a secret, and no layer keeps it.
  printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$cache/pip.conf"
  echo "Building $IMAGE from deploy/containers/$file ..."
  buildah bud --isolation chroot --format docker --build-arg BASE="$BASE" --secret id=pip,src="$cache/pip.conf" \
    --volume "$wheels:/wheels:ro" --file "$here/$file" --tag "$IMAGE" "$repository" >"$cache/build.log" 2>&1 ||
    stop "The build failed: see $cache/build.log"
  podman image inspect --format 'built {{.Id}}: {{.Size}} bytes, user {{.User}}' "$IMAGE"
}

until_true() { # seconds, what, command
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 1
  done
  echo "ok: $what"
}
