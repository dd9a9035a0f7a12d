#!/usr/bin/env bash
# Usage: deploy/containers/pin.sh [--write]. Asks the registries which digest each image tag of compose.yaml and the Dockerfiles
# has now, and shows what differs from what is pinned; with --write it changes the files. Needs Docker with buildx, or skopeo.
# For a newer version change the tag first. Try what you pinned before it runs beside a PACS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
files=("$here/../compose.yaml" "$here/Dockerfile" "$here/Dockerfile.gpu")

digest_of() { # image:tag
  if command -v skopeo >/dev/null; then
    skopeo inspect --format '{{.Digest}}' "docker://$1"
  elif docker buildx version >/dev/null 2>&1; then
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
  else
    echo "There is neither skopeo nor docker with buildx. Fix: install one, and run this where the registries are reached." >&2
    exit 1
  fi
}

status=0
while IFS=@ read -r image pinned; do
  now=$(digest_of "$image") || exit 1
  if [[ ! $now =~ ^sha256:[0-9a-f]{64}$ ]]; then
    echo "$image: the registry's answer is no digest." >&2
    exit 1
  elif [ "$now" = "$pinned" ]; then
    echo "same    $image"
  elif [ "${1:-}" = --write ]; then
    sed -i "s|$image@$pinned|$image@$now|" "${files[@]}"
    echo "pinned  $image@$now"
  else
    echo "differs $image: pinned $pinned, now $now"
    status=1
  fi
done < <(grep -hoE '[a-z0-9./-]+/?[a-z0-9-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}' "${files[@]}" | sort -u)
exit $status
