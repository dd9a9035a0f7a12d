#!/usr/bin/env bash
# Usage: deploy/containers/prepare.sh. Before the first `docker compose up`: deploy/.env from example.env, and a password each for
# Orthanc (user admin) and Grafana (user admin), and an empty file for that of the mail server. What is there stays as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -e "$here/../.env" ]; then
  cp "$here/example.env" "$here/../.env"
  echo "Wrote deploy/.env."
fi

# The folder keeps other people of this machine out. The files in it are readable, because the users inside of the containers
# are not the one who made them, and each container sees its own only.
mkdir -p "$here/secrets"
chmod 0700 "$here/secrets"
for name in orthanc-password grafana-password; do
  if [ ! -s "$here/secrets/$name" ]; then
    head -c 24 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' >"$here/secrets/$name"
    chmod 0444 "$here/secrets/$name"
    echo "Wrote deploy/containers/secrets/$name."
  fi
done
if [ ! -e "$here/secrets/alertmanager-mail-password" ]; then
  : >"$here/secrets/alertmanager-mail-password"
  chmod 0644 "$here/secrets/alertmanager-mail-password"
fi
