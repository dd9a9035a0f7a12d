#!/usr/bin/env bash
# Usage: deploy/containers/try-build.sh [--gpu] [FOLDER]. Builds deploy/containers/Dockerfile for real and runs the image as
# compose.yaml does (user 10001, read-only root, no capabilities): a CT series through it (made up, or the files of FOLDER), its
# health check, a kill, a stop and a start. --gpu: the same with Dockerfile.gpu, whose program then runs on the CPU.
# For root; needs buildah, podman, catatonit and debootstrap, and no registry. Minutes. A cache and the images stay:
#     rm -r /var/tmp/imaging-node-containers; podman rmi localhost/imaging-node:try localhost/imaging-node-try-base:bookworm
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/containers/try/images.sh
. "$repository/deploy/containers/try/images.sh"

fail() {
  echo "FAILED: $1" >&2
  podman logs --tail 20 "$container" >&2 || true
  exit 1
}

in_node() { podman exec "$container" "$@"; }
delivered() { [ "$(in_node find /var/lib/imaging-node/out -type f | wc -l)" -eq "$1" ]; }
wanted() { [ "$(in_node imaging-node jobs --json | grep -o '"state": "delivered"' | wc -l)" -eq 1 ]; }

# shellcheck disable=SC2119
require_engine
kind=cpu
if [ "${1:-}" = --gpu ]; then
  kind=gpu
  shift
fi
make_image "$kind"

container=imaging-node-try-$$
trap '{ podman rm --force "$container"; podman volume rm "$container"; } >/dev/null 2>&1 || true' EXIT
series=()
[ $# -eq 0 ] || series=(--volume "$(realpath "$1"):/series:ro")
podman run --detach --name "$container" --init --network none --user 10001:10001 --read-only --cap-drop all \
  --security-opt no-new-privileges --tmpfs /tmp:rw,noexec,nosuid,nodev,size=512m --pids-limit 4096 \
  --volume "$container:/var/lib/imaging-node" "${series[@]}" \
  --volume "$here/try/node.toml:/etc/imaging-node/node.toml:ro" --volume "$here/try/inside.py:/try/inside.py:ro" \
  "$IMAGE" >/dev/null || stop "podman could not start it."

until_true 120 "check --local is green" in_node imaging-node check --local || fail "not healthy within 120 s"
[ "$(in_node id -u)" = 10001 ] || fail "it runs as another user"
if in_node touch /opt/imaging-node/x 2>/dev/null || in_node touch /etc/x 2>/dev/null; then fail "its root can be written to"; fi
[ "$(in_node sh -c 'grep CapBnd /proc/self/status | tr -d "0[:space:]"')" = "CapBnd:" ] || fail "it has capabilities"
for tool in gcc cc make pip; do
  if in_node sh -c "command -v $tool" >/dev/null; then fail "$tool is in the image"; fi
done
in_node imaging-node schema | cmp - "$repository/deploy/node.schema.json" || fail "the schema of the image is another one"
echo "ok: user 10001, read-only root, no capabilities, no compiler, no pip"

sent=$(in_node python3 /try/inside.py send ${series:+/series}) || fail "the node did not take the series"
echo "$sent"
count=${sent#sent }
count=${count% images}
until_true 300 "one derived image for each" delivered "$count" || fail "no result within 300 s"
in_node imaging-node check || fail "imaging-node check"

# The supervisor starts again what is killed; the engine starts again what stops.
in_node python3 /try/inside.py kill || fail "there is no worker to kill"
until_true 60 "green again after its worker was killed" in_node imaging-node check --local || fail "not healthy after a kill"
begun=$SECONDS
podman stop --time 30 "$container" >/dev/null
echo "ok: stopped within $((SECONDS - begun)) s"
podman start "$container" >/dev/null
until_true 120 "green after a start" in_node imaging-node check --local || fail "not healthy after a start"
wanted || fail "the records do not name one delivered job"
delivered "$count" || fail "the restart changed what was delivered"
until_true 90 "the image's own HEALTHCHECK says healthy" podman healthcheck run "$container" || fail "HEALTHCHECK"
echo "All of it held."
