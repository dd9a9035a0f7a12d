#!/usr/bin/env bash
# Usage: deploy/containers/try-site.sh. Brings deploy/compose.yaml up for real, without Docker and without a registry: docker-compose
# talks to podman; the node is built from its Dockerfile, Orthanc, Prometheus and Alertmanager are Debian's in place of their
# images (containers/try/compose.yaml), Grafana is left out. A CT series into Orthanc has to come back denoised and labelled, by
# the settings as they stand; Prometheus has to see the node; all again after a restart. For root; needs buildah, podman,
# catatonit, debootstrap, docker-compose, and the ports 11112, 4242, 8042, 8080, 9090, 9093. Minutes. deploy/.env and
# deploy/containers/secrets are made where they are not; containers and volumes go at the end.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/containers/try/images.sh
. "$repository/deploy/containers/try/images.sh"

stand_in() { # name, entrypoint, command at the end, packages of Debian
  local name=localhost/imaging-node-try-$1:$system entrypoint=$2 command=$3 container
  shift 3
  if image_is_there "$name"; then return; fi
  echo "Making $name: Debian $system with $* ..."
  container=$(buildah from "$BASE")
  buildah run --isolation chroot "$container" -- sh -c "apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends $* && $command" >"$cache/packages.log" 2>&1 || stop "See $cache/packages.log"
  buildah config --cmd "" --entrypoint "$entrypoint" "$container"
  buildah commit --quiet --rm "$container" "$name" >/dev/null
}

fail() {
  echo "FAILED: $1" >&2
  compose ps >&2 || true
  compose logs --tail 15 >&2 || true
  exit 1
}

compose() {
  DOCKER_HOST=unix://$socket docker-compose --project-name imaging-node-try --env-file "$here/example.env" \
    -f "$repository/deploy/compose.yaml" -f "$here/try/compose.yaml" "$@"
}

orthanc() { # path, curl's options
  local path=$1
  shift
  curl --silent --show-error --fail --max-time 60 --user "admin:$(cat "$here/secrets/orthanc-password")" "$@" "http://127.0.0.1:8042$path"
}

derived() { # how many series with so many images came from the node
  [ "$(orthanc '/tools/find' --data '{"Level": "Instance", "Query": {"ImageType": "DERIVED*AI_DENOISE*"}}' | grep -c '^ *"')" -eq "$1" ]
}

scraped() { curl --silent --fail 'http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22imaging-node%22%7D' | grep -q '"1"\]'; }
green() { compose exec -T node imaging-node check --local; }

require_engine docker-compose curl
make_image cpu
stand_in orthanc '[]' 'ln -s plugins /usr/share/orthanc/plugins-available' orthanc orthanc-dicomweb orthanc-python python3
stand_in prometheus '["/usr/bin/prometheus"]' 'install -d -o 65534 -g 65534 /prometheus' prometheus wget
stand_in alertmanager '["/usr/bin/prometheus-alertmanager"]' 'install -d -o 65534 -g 65534 /alertmanager' \
  prometheus-alertmanager wget
"$here/prepare.sh"

socket=$cache/podman-$$.sock
podman system service --time 0 "unix://$socket" >"$cache/service.log" 2>&1 &
service=$!
trap 'compose down --volumes --timeout 30 >"$cache/down.log" 2>&1 || true; kill "$service"; rm -f "$socket"' EXIT
until_true 30 "podman listens" test -S "$socket" || stop "podman's service did not start: see $cache/service.log"

compose up --detach --no-build node orthanc prometheus alertmanager >"$cache/up.log" 2>&1 || fail "up: see $cache/up.log"
until_true 180 "the node is green" green || fail "the node is not healthy"
until_true 60 "Orthanc is green" compose exec -T orthanc python3 /usr/local/lib/orthanc_alive.py || fail "Orthanc is not healthy"
compose exec -T node imaging-node check || fail "imaging-node check"
for port in 9090 9093; do
  until_true 60 "ready on port $port" curl --silent --fail "http://127.0.0.1:$port/-/ready" || fail "port $port"
done
until_true 60 "Prometheus sees the node" scraped || fail "Prometheus does not see the node"
if curl --silent --max-time 5 "http://127.0.0.1:8042/system" --output /dev/null --fail; then fail "Orthanc asks for no password"; fi

phantom=$(mktemp -d)
"$repository/.venv/bin/python" -c 'import sys; from pathlib import Path; from node.demo.phantom import make_series
make_series(Path(sys.argv[1]), slices=20)' "$phantom"
for file in "$phantom"/*; do orthanc /instances --data-binary "@$file" >/dev/null; done
rm -r "$phantom"
begun=$SECONDS
until_true 300 "20 derived images are in Orthanc" derived 20 || fail "nothing came back"
echo "   $((SECONDS - begun)) s after the last image came into Orthanc"

compose restart --timeout 30 >"$cache/restart.log" 2>&1 || fail "restart: see $cache/restart.log"
until_true 180 "the node is green after a restart of everything" green || fail "not healthy after a restart"
until_true 60 "Orthanc has what it had" derived 20 || fail "Orthanc lost something"
until_true 60 "Prometheus sees the node again" scraped || fail "Prometheus does not see the node after a restart"
echo "All of it held."
