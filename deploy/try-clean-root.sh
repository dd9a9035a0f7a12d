#!/usr/bin/env bash
# Tries deploy/install.sh where nothing was installed before: a bare Debian (or Ubuntu) root that runs as a machine of its own
# (systemd as process 1, a network of its own that leads nowhere), with the distribution's Orthanc beside the node. As root:
#     deploy/try-clean-root.sh            a line for each promise, ok or FAILED; exit status 0 if all are ok
# Needs debootstrap, systemd-container, a package mirror and a package index, 2 GB of disk and 10 to 20 minutes.
# What it makes lies under CLEAN_ROOT_CACHE (/var/tmp/imaging-node-clean-root): bare roots and packages stay there for the
# next run, the rest is removed. Nothing else of this machine is changed.
#
#   --system NAME    bookworm (default), or jammy, noble on a machine that has their mirror and keys
#   --commit NAME    what is tried; default: HEAD, without changes that are not committed
#   --series FOLDER  a CT series of DICOM files that is sent, too; default: computed phantoms only
#   --readme         walk README's way to a first derived series instead, line by line, with what it prints; implies --index
#   --index          install from the package index as pip of this machine has it, by this machine's network; default: packages
#                    are fetched before, and --wheels installs them
#   --keep           leave the root for a look; its folder is printed
set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/.." && pwd)
cache=${CLEAN_ROOT_CACHE:-/var/tmp/imaging-node-clean-root}
system=bookworm commit=HEAD series="" index=no keep=no what=try_all
# shellcheck source-path=SCRIPTDIR source=clean-root/base.sh
. "$here/clean-root/base.sh"
# shellcheck source-path=SCRIPTDIR source=clean-root/machine.sh
. "$here/clean-root/machine.sh"
# shellcheck source-path=SCRIPTDIR source=clean-root/promises.sh
. "$here/clean-root/promises.sh"
# shellcheck source-path=SCRIPTDIR source=clean-root/readme.sh
. "$here/clean-root/readme.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --system) system=${2:?"--system needs a name"}; shift ;;
    --commit) commit=${2:?"--commit needs a name"}; shift ;;
    --series) series=$(cd "${2:?"--series needs a folder"}" && pwd); shift ;;
    --index) index=yes ;;
    --readme) what=try_readme index=yes ;;
    --keep) keep=yes ;;
    *) stop "There is no option $1; see --help." ;;
  esac
  shift
done

require_tools
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || stop "Another run uses $cache: wait for its end, or set CLEAN_ROOT_CACHE to another folder."
trap clean_up EXIT
make_base
make_wheels
make_root
machine_up
$what
