#!/usr/bin/env bash
# Sets Orthanc up beside the node on a Debian or Ubuntu machine: what README.md in this folder says by hand. As root:
#     deploy/orthanc/setup.sh [NAME=VALUE ...]      variables of README.md, as in NODE_HOST=10.0.0.20 SENDER_AET=CT2
# A second run keeps the passwords and orthanc.json, and brings the newest script. Debian's own settings in /etc/orthanc stay
# as they are and are no longer read; `systemctl revert orthanc` brings them back.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=/etc/orthanc-beside
environment=$folder/environment

stop() { # fact, fix
  printf '%s\nFix: %s\n' "$1" "$2" >&2
  exit 1
}

case ${1:-} in --help | -h) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
for given in "$@"; do
  [[ $given =~ ^[A-Z_]+=[^[:space:]\'\"\\]+$ ]] || stop "$given is no NAME=VALUE." "Names and what they say: $here/README.md."
  grep -q "\`${given%%=*}\`" "$here/README.md" || stop "There is no variable ${given%%=*}." "Those there are: $here/README.md."
done
[ "$(id -u)" -eq 0 ] || stop "Only root may set a service up." "sudo deploy/orthanc/setup.sh"
command -v apt-get >/dev/null || stop "This system has no apt-get." "Follow $here/README.md by hand."

apt-get update -qq || true # without an index the installation says what is missing
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends orthanc orthanc-dicomweb orthanc-python curl \
  openssl >/dev/null || stop "apt-get could not install Orthanc and its plug-ins." "See what it says above."

install -d -m 0755 "$folder"
[ -e "$folder/orthanc.json" ] || install -m 0644 "$here/orthanc.json" "$folder/orthanc.json"
install -m 0644 "$here/to_the_node.py" "$folder/to_the_node.py"
rm -rf "$folder/beside"
install -d -m 0755 "$folder/beside"
install -m 0644 "$here"/beside/*.py "$folder/beside"

# Passwords are made once; what was given on the command line takes the place of what stood there.
umask 077
[ -e "$environment" ] || printf 'ORTHANC_PASSWORD=%s\nORTHANC_NODE_PASSWORD=%s\nORTHANC_SCRIPT=%s\n' \
  "$(openssl rand -hex 16)" "$(openssl rand -hex 16)" "$folder/to_the_node.py" >"$environment"
for given in "$@"; do
  sed -i "/^${given%%=*}=/d" "$environment"
  printf '%s\n' "$given" >>"$environment"
done
umask 022
install -d -m 0755 /etc/systemd/system/orthanc.service.d
printf '[Service]\nEnvironmentFile=%s\nExecStart=\nExecStart=/usr/sbin/Orthanc --logdir=/var/log/orthanc %s\n' \
  "$environment" "$folder/orthanc.json" >/etc/systemd/system/orthanc.service.d/beside.conf
systemctl daemon-reload
systemctl enable --quiet orthanc
systemctl restart orthanc

port=$(sed -n 's/^ORTHANC_HTTP_PORT=//p' "$environment")
password=$(sed -n 's/^ORTHANC_PASSWORD=//p' "$environment")
for _ in $(seq 60); do
  # The password by standard input: a command line is there for everybody to read.
  if printf 'user = "admin:%s"\n' "$password" | curl -sf -o /dev/null -K - "http://127.0.0.1:${port:-8042}/imaging-node"; then
    echo "Orthanc runs. Sign in at http://127.0.0.1:${port:-8042} as admin; the password is in $environment."
    exit 0
  fi
  sleep 0.5
done
stop "Orthanc did not answer within 30 s." "Its log in /var/log/orthanc says why."
