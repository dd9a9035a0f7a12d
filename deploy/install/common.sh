# Read by ../install.sh: where things are, and how it says that something is wrong.
# shellcheck shell=bash

NAME=imaging-node
PROGRAM=/opt/$NAME
COMMAND=/usr/local/bin/$NAME
SETTINGS_FOLDER=/etc/$NAME
SETTINGS=$SETTINGS_FOLDER/node.toml
STATE=/var/lib/$NAME
BACKUPS=/var/backups/$NAME
UNITS=/etc/systemd/system
DROP_IN=50-settings.conf # beside what an administrator writes
LOCK=/run/lock/$NAME-install.lock
AS_NODE=(runuser -u "$NAME" -- env --chdir=/) # the folder that root works in may be closed to it

begun=$SECONDS
trap 'stop "Line $LINENO of ${BASH_SOURCE[0]##*/} failed: $BASH_COMMAND" "Mend what is said above, then run the same command again.$(unchanged)"' ERR

say() { echo "$*"; }

stop() { # the fact, the fix
  trap - ERR
  printf '%s\nFix: %s\n' "$1" "$2" >&2
  exit 1
}

unchanged() { # what the reader of a failure asks first
  if [ -L "$PROGRAM/current" ]; then echo " Version $(version_at current) is in use as before."; fi
}

version_at() { # link: the version that it points at, or nothing
  if [ -L "$PROGRAM/$1" ]; then readlink "$PROGRAM/$1"; fi
}

point() { # link, version: in one step, so that there is always one or the other
  ln -sfn "$2" "$PROGRAM/.$1.new" &&
    mv -T "$PROGRAM/.$1.new" "$PROGRAM/$1"
}

require_root() {
  [ "$(id -u)" -eq 0 ] || stop "Only root can install; this is user $(id -un)." "sudo deploy/install.sh ..."
}

one_at_a_time() {
  mkdir -p "${LOCK%/*}"
  exec 9>"$LOCK"
  flock -n 9 || stop "Another deploy/install.sh is at work." "Wait for its end."
}

systemd_runs() { [ -d /run/systemd/system ]; }

require_systemd() {
  systemd_runs || [ "$start" = no ] ||
    stop "systemd does not run this machine, so that nothing would start the node." \
      "--no-start installs without starting it; for a container see deploy/compose.yaml."
}

find_wheels() {
  [ -n "$wheels" ] || return 0
  [ -d "$wheels" ] || stop "There is no folder $wheels." "Make it as deploy/install.sh --help says."
  wheels=$(cd "$wheels" && pwd)
}

free_mb() { # of the disk that holds a path, or will
  local path=$1
  while [ ! -e "$path" ]; do path=$(dirname "$path"); done
  df --output=avail -BM "$path" | tail -n 1 | tr -dc '0-9'
}
