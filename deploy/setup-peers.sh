#!/usr/bin/env bash
# Brings the real peers that the tests talk to, where packages may be installed. Never fails: a test whose peer is
# missing skips and says so, and this script says it first.
set -uo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# tool:package:what its tests are about
peers=(
  "dcmsend:dcmtk:sending and receiving with DCMTK"
  "Orthanc:orthanc:delivery to a real archive"
  "dciodvfy:dicom3tools:validity of the derived objects"
  "promtool:prometheus:validity of the metrics page"
  "strace:strace:order of the system calls behind Success"
)

missing() {
  for peer in "${peers[@]}"; do
    command -v "${peer%%:*}" >/dev/null || echo "$peer"
  done
}

mapfile -t absent < <(missing)
[ ${#absent[@]} -eq 0 ] && exit 0

packages=()
for peer in "${absent[@]}"; do
  rest=${peer#*:}
  packages+=("${rest%%:*}")
done

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
why=""
if ! command -v apt-get >/dev/null; then
  why="this system has no apt-get"
elif [ ${#as_root[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; then
  why="installing packages needs root here (sudo apt-get install ${packages[*]})"
else
  echo "Installing ${packages[*]} ..."
  log=$(mktemp)
  "${as_root[@]}" apt-get update -qq >"$log" 2>&1
  # One by one: a package that this release lacks must not keep the others away.
  for package in "${packages[@]}"; do
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" \
      >>"$log" 2>&1 || why="apt-get could not install $package: $(grep -m1 '^E:' "$log")"
  done
  rm -f "$log"
  case " ${packages[*]} " in
    *" orthanc "* | *" prometheus "*)
      echo "Debian may have started the services orthanc and prometheus. The tests run their own on other ports;"
      echo "to stop Debian's: sudo systemctl disable --now orthanc prometheus"
      ;;
  esac
fi

mapfile -t absent < <(missing)
for peer in "${absent[@]}"; do
  rest=${peer#*:}
  echo "Skipped: tests of ${rest#*:}, because ${peer%%:*} is missing: $why."
done
exit 0
