# Read by ../try-clean-root.sh: a bare root, once for each system, and the packages of the lock.
# shellcheck shell=bash
# shellcheck disable=SC2154  # cache, system, ... are set by the script that reads this

CONTAINER=(systemd-nspawn --quiet --register=no --keep-unit)

stop() {
  echo "$*" >&2
  exit 2
}

require_tools() {
  [ "$(id -u)" -eq 0 ] || stop "Only root can make a root and run it: sudo deploy/try-clean-root.sh"
  local tool
  for tool in debootstrap systemd-nspawn nsenter git; do
    command -v "$tool" >/dev/null || stop "There is no $tool: apt-get install debootstrap systemd-container util-linux git"
  done
}

mirror() { # of the system, as apt of this machine has it
  local uri
  if [ -n "${CLEAN_ROOT_MIRROR:-}" ]; then
    echo "$CLEAN_ROOT_MIRROR"
    return
  fi
  uri=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' | awk -v c="$system" '$1 == c && $2 == "main" {print $3; exit}')
  [ -n "$uri" ] || stop "apt of this machine has no source of $system: set CLEAN_ROOT_MIRROR (and CLEAN_ROOT_KEYRING)."
  echo "$uri"
}

make_base() {
  local base=$cache/$system uri options=() script=()
  [ ! -f "$base.complete" ] || return 0
  uri=$(mirror)
  [ -z "${CLEAN_ROOT_KEYRING:-}" ] || options=(--keyring "$CLEAN_ROOT_KEYRING")
  # Every Ubuntu is made alike; an older debootstrap does not know the newer names.
  [ -e "/usr/share/debootstrap/scripts/$system" ] || script=(gutsy)
  rm -rf --one-file-system "$base"
  echo "Making a bare $system in $base (once) ..."
  debootstrap --variant=minbase "${options[@]}" --include=systemd,systemd-sysv,dbus,ca-certificates,python3,python3-venv \
    "$system" "$base" "$uri" "${script[@]}" >"$base.log" 2>&1 || stop "debootstrap failed: see $base.log"
  # Ubuntu keeps Orthanc in universe.
  sed -i '/ubuntu/s/ main$/ main universe/' "$base/etc/apt/sources.list"
  # How apt of this machine fetches (proxies, time-outs), if it says.
  grep -lE '^ *Acquire' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$base/etc/apt/apt.conf.d/" || true
  echo "Adding Orthanc ..."
  "${CONTAINER[@]}" --directory="$base" --pipe --as-pid2 bash -c \
    'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends orthanc &&
     apt-get clean' >>"$base.log" 2>&1 </dev/null || stop "apt-get in the new root failed: see $base.log"
  touch "$base.complete"
}

make_wheels() { # with pip of this machine, as it is configured, for the Python of the root
  wheels=$cache/wheels-$system
  local python minor glibc platforms=("manylinux2014_$(uname -m)") lock=$cache/lock-$system.txt
  minor=$(basename "$(readlink "$cache/$system/usr/bin/python3")")
  python=$repository/.venv/bin/python
  [ -x "$python" ] || python=python3
  git -C "$repository" show "$commit:deploy/lock/runtime.txt" >"$lock"
  ! cmp --silent "$lock" "$wheels/.lock" || return 0
  echo "Fetching the packages of the lock for $minor ..."
  for glibc in $(seq 5 35); do platforms+=("manylinux_2_${glibc}_$(uname -m)"); done # 35: Ubuntu 22.04, the oldest
  rm -rf "$wheels"
  "$python" -m pip --quiet download --only-binary=:all: --implementation cp --python-version "${minor#python}" \
    "${platforms[@]/#/--platform=}" --require-hashes --requirement "$lock" --dest "$wheels" >"$wheels.log" 2>&1 ||
    stop "pip could not fetch what the lock names: see $wheels.log"
  mv "$lock" "$wheels/.lock"
}

make_root() { # a copy for this run, with releases as an administrator unpacks them
  root=$(mktemp -d "$cache/root-XXXXXX")
  echo "Trying commit $(git -C "$repository" log -1 --format='%h, %s' "$commit")."
  cp -a --reflink=auto "$cache/$system/." "$root/"
  cp -a "$wheels" "$root/srv/wheels"
  release "$root/srv/release-1"
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$repository/pyproject.toml")
  newer_release "$root/srv/release-2" 99.0.0
  # One that does not start, although its check and its trial say nothing against it.
  newer_release "$root/srv/release-3" 99.0.1
  sed -i 's/^        return Supervisor(.*/        raise SystemExit("broken on purpose")/' "$root/srv/release-3/node/commands/run.py"
  grep -q 'broken on purpose' "$root/srv/release-3/node/commands/run.py" || stop "node/commands/run.py has changed: see make_root."
  cp "$repository/deploy/clean-root/archive.py" "$root/srv/"
  [ -z "$series" ] || cp -rL "$series" "$root/srv/series"
  # What an administrator tells Orthanc: where the node is.
  sed -i 's|^  "DicomModalities" : {|&\n    "imaging-node" : ["IMAGING-NODE", "127.0.0.1", 11112]|' "$root/etc/orthanc/orthanc.json"
}

release() { # folder
  mkdir "$1"
  git -C "$repository" archive "$commit" | tar --extract --directory "$1"
}

newer_release() { # folder, version: with tables of its own, so that the records have to come along, and back
  local migrations=$1/node/records/migrations/versions last
  release "$1"
  sed -i "s/^version = .*/version = \"$2\"/" "$1/pyproject.toml"
  last=$(basename "$(find "$migrations" -name '[0-9]*_*.py' | sort | tail -n 1)")
  cat >"$migrations/${2%%.*}01_trial.py" <<PYTHON
"""A column that only this trial's version knows"""

from alembic import op

revision = "${2%%.*}01"
down_revision = "${last%%_*}"


def upgrade() -> None:
    op.execute("ALTER TABLE deliveries ADD COLUMN trial TEXT DEFAULT 'newer'")


def downgrade() -> None:
    op.execute("ALTER TABLE deliveries DROP COLUMN trial")
PYTHON
}
