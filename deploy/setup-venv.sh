#!/usr/bin/env bash
# Usage: setup-venv.sh PYTHON FOLDER. Makes a virtual environment, or says what is missing and how to get it.
set -euo pipefail
python=$1
folder=$2

stop() {
  echo "$1" >&2
  echo "Fix: $2" >&2
  exit 1
}

command -v "$python" >/dev/null ||
  stop "There is no $python." "sudo apt-get install python3 python3-venv, or make PYTHON=/path/to/python3.11 ..."

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  stop "$python is Python $version; the node needs 3.11 or newer." "make PYTHON=/path/to/python3.11 ..."

# Debian and Ubuntu ship Python without the part that makes virtual environments.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  if command -v apt-get >/dev/null && { [ ${#as_root[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
    echo "Installing python3-venv ..."
    "${as_root[@]}" apt-get update -qq || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
      "python$version-venv" >/dev/null || true
  fi
  "$python" -c 'import ensurepip' 2>/dev/null ||
    stop "Python $version cannot make virtual environments here (module ensurepip is missing)." \
      "sudo apt-get install python$version-venv, then the same command again."
fi

"$python" -m venv "$folder"
