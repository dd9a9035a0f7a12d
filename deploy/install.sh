#!/usr/bin/env bash
# Installs the node on a server with Debian 12, Ubuntu 22.04 or newer, and brings it to a newer version. As root, from a
# clone or an unpacked release:  deploy/install.sh --help
# What it does and why: deploy/decisions/0030-install.md
set -Eeuo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=install/common.sh
. "$here/install/common.sh"
# shellcheck source-path=SCRIPTDIR source=install/program.sh
. "$here/install/program.sh"
# shellcheck source-path=SCRIPTDIR source=install/settings.sh
. "$here/install/settings.sh"
# shellcheck source-path=SCRIPTDIR source=install/service.sh
. "$here/install/service.sh"

usage() {
  cat <<TEXT
deploy/install.sh                installs this version, or upgrades to it; settings and state stay as they are
deploy/install.sh --roll-back    back to the version that ran before
deploy/install.sh --remove       removes the program; settings, state and backups stay unless --purge is given

Options of an installation:
  --pacs TITLE@ADDRESS:PORT  write first settings: this archive sends to the node and gets the results
  --ae-title TITLE           the node's own AE title in them (IMAGING-NODE)
  --plain                    in them: DICOM without encryption, for a closed network
  --ask                      ask for those three
  --with mr                  also what the MR pipelines need (264 MB)
  --wheels FOLDER            take the packages from a folder, for a machine without a package index
  --python PATH              the Python to use, 3.11 or newer; default: the system's, or a newer one beside it
  --no-start                 install only
  --help                     this text

Packages for --wheels, on a machine with the same system and Python that has an index:
  python3 -m pip download --require-hashes -r deploy/lock/runtime.txt -d wheels    (with mr: -r deploy/lock/mr.txt)
TEXT
}

value_of() { # option, what follows it
  [ -n "${2:-}" ] || stop "$1 needs a value." "See deploy/install.sh --help."
}

action=install purge=no start=yes ask=no plain=no pacs="" title=IMAGING-NODE python="" wheels="" extras=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --roll-back) action=roll_back ;;
    --remove) action=remove ;;
    --purge) purge=yes ;;
    --no-start) start=no ;;
    --plain) plain=yes ;;
    --ask) ask=yes ;;
    --pacs) value_of "$@"; pacs=$2; shift ;;
    --ae-title) value_of "$@"; title=$2; shift ;;
    --python) value_of "$@"; python=$2; shift ;;
    --wheels) value_of "$@"; wheels=$2; shift ;;
    --with)
      value_of "$@"
      [ "$2" = mr ] || stop "There is no extra $2." "--with mr is the only one that this script installs."
      extras+=("$2"); shift ;;
    *) stop "There is no option $1." "See deploy/install.sh --help." ;;
  esac
  shift
done
[ "$purge" = no ] || [ "$action" = remove ] || stop "--purge goes with --remove." "Give both, or neither."

require_root
one_at_a_time
case $action in
  install)
    require_systemd
    require_settings_options
    find_python
    find_wheels
    read_release "$here/.."
    keep_extras
    require_space
    [ "$ask" = no ] || ask_for_settings
    make_user_and_folders
    build
    first_settings
    install_or_upgrade
    ;;
  roll_back) roll_back ;;
  remove) remove ;;
esac
