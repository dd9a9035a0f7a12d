# Read by ../install.sh: the program in a folder of its own, complete before anything points at it.
# shellcheck shell=bash

# shellcheck disable=SC2034  # read by its siblings
MARK=INSTALLED # in a version's folder, written last: without it the folder is half a version

find_python() { # sets python to the one that was asked for, or the system's, or a newer one beside it
  local candidates=(python3 python3.11 python3.12 python3.13 python3.14) candidate found="none" system fix
  [ -z "$python" ] || candidates=("$python")
  for candidate in "${candidates[@]}"; do
    command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      python=$(command -v "$candidate")
      return
    fi
    found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  done
  # shellcheck source=/dev/null
  system=$(. /etc/os-release && echo "${ID:-}-${VERSION_ID:-}")
  case $system in
    ubuntu-22.04) fix="apt-get install python3.11 python3.11-venv (of universe), then the same command again." ;;
    debian-11 | ubuntu-20.04) fix="This system is too old: use Debian 12, Ubuntu 22.04 or newer." ;;
    *) fix="apt-get install python3 python3-venv; or, where the system's is older, --python /path/to/python3.11." ;;
  esac
  [ -z "$python" ] || fix="Give the path of Python 3.11 or newer to --python, or leave it out."
  stop "The node needs Python 3.11 or newer; ${python:-this machine} has: $found." "$fix"
}

read_release() { # its folder; sets source, version, digest and target
  source=$(cd "$1" && pwd)
  [ -f "$source/pyproject.toml" ] ||
    stop "$source holds no release." "Run deploy/install.sh from a clone or an unpacked release."
  version=$(sed -n 's/^version = "\([0-9A-Za-z.+-]*\)"$/\1/p' "$source/pyproject.toml")
  [ -n "$version" ] || stop "$source/pyproject.toml names no version." "Unpack the release again."
  digest=$(release_files -type f | sort -z | (cd "$source" && xargs -0 sha256sum) | sha256sum | cut -c 1-64)
  target=$version
  # Another state of the same version, as a clone has it, gets a folder of its own: what runs is never changed.
  if [ -f "$PROGRAM/$version/$MARK" ] && ! is_installed "$version"; then target=$version+${digest:0:8}; fi
}

release_files() { # what kind, as find(1) has it
  (cd "$source" && find node pipelines engines deploy pyproject.toml README.md CHANGELOG.md "$@" \
    ! -path '*/__pycache__/*' -print0)
}

is_installed() { # version: complete, of this release, and its Python is still there (a new release of Debian takes it away)
  grep -qsx "digest=$digest" "$PROGRAM/$1/$MARK" && "$PROGRAM/$1/bin/python" -c '' 2>/dev/null
}

extras_of() { sed -n 's/^extras=//p' "$PROGRAM/$1/$MARK" 2>/dev/null || true; }

keep_extras() { # an upgrade keeps what the version before had
  local before
  before=$(version_at current)
  [ -n "$before" ] || return 0
  for extra in $(extras_of "$before"); do
    [[ " ${extras[*]} " == *" $extra "* ]] || extras+=("$extra")
  done
}

require_space() {
  local needed=600 free
  [ ${#extras[@]} -eq 0 ] || needed=900
  free=$(free_mb "$PROGRAM")
  if ! is_installed "$target" && [ "$free" -lt "$needed" ]; then
    stop "The disk of $PROGRAM has $free MB free; the program needs $needed." \
      "Make room, or mount a larger disk at $PROGRAM.$(unchanged)"
  fi
  free=$(free_mb "$STATE")
  # node.disk_reserve_mb: below it the node takes no images.
  if [ "$free" -lt 2048 ]; then
    stop "The disk of $STATE has $free MB free; the node takes no images below 1024 and needs room for a study." \
      "Make room, or mount a larger disk at $STATE.$(unchanged)"
  fi
}

make_user_and_folders() {
  getent group "$NAME" >/dev/null || groupadd --system "$NAME"
  getent passwd "$NAME" >/dev/null ||
    useradd --system --gid "$NAME" --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$NAME"
  install -d -m 0755 "$PROGRAM"
  install -d -m 0750 -o root -g "$NAME" "$SETTINGS_FOLDER"
  install -d -m 0700 -o "$NAME" -g "$NAME" "$STATE"
  [ -d "$BACKUPS" ] || install -d -m 0700 -o "$NAME" -g "$NAME" "$BACKUPS" # a share that is mounted there stays as it is
}

build() {
  local folder=$PROGRAM/$target lock
  if is_installed "$target" && [ "$(extras_of "$target")" = "${extras[*]}" ]; then
    say "Version $target is there already."
    return
  fi
  changed=yes
  if ! is_installed "$target"; then
    rm -rf "$folder" # half a version, of a run that was interrupted
    say "Installing version $target into $folder ..."
    "$source/deploy/setup-venv.sh" "$python" "$folder"
  fi
  local locks=("$source/deploy/lock/runtime.txt")
  for extra in "${extras[@]}"; do locks+=("$source/deploy/lock/$extra.txt"); done
  for lock in "${locks[@]}"; do
    pip_install "$folder" ${wheels:+--no-index -f "$wheels"} --require-hashes --requirement "$lock" ||
      stop "pip could not install what ${lock##*/} names (above)." \
        "Check the package index of this machine (pip config list), or bring the packages: --wheels, see --help.$(unchanged)"
  done
  is_installed "$target" || install_ourselves "$folder"
  "$folder/bin/python" -m pip --quiet uninstall --yes setuptools # it only built
  printf 'version=%s\ndigest=%s\nextras=%s\n' "$version" "$digest" "${extras[*]}" >"$folder/$MARK.new"
  mv "$folder/$MARK.new" "$folder/$MARK"
  say "Installed $(du -sm "$folder" | cut -f 1) MB after $((SECONDS - begun)) s."
}

install_ourselves() { # folder of the version; from a copy, since building leaves files beside the sources
  local copy
  copy=$(mktemp -d)
  release_files '(' -type f -o -type l ')' | (cd "$source" && xargs -0 cp --parents --no-dereference --target-directory "$copy")
  pip_install "$1" --no-index --no-deps --no-build-isolation "$copy" || {
    rm -rf "$copy"
    stop "pip could not install the program itself (above)." "Unpack the release again.$(unchanged)"
  }
  mkdir -p "$1/share"
  cp -R --no-dereference "$copy/deploy" "$copy/README.md" "$copy/CHANGELOG.md" "$1/share/"
  rm -rf "$copy"
}

pip_install() { # folder of the version, what pip gets
  PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$1/bin/python" -m pip --quiet --no-cache-dir install "${@:2}"
}
