#!/usr/bin/env bash
# Brings the real peers that the tests talk to, where packages may be installed. Never fails: a test whose peer is
# missing skips and says so, and this script says it first.
set -uo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# tool:package:what its tests are about
peers=(
  "dcmsend:dcmtk:sending and receiving with DCMTK"
  "Orthanc:orthanc:delivery to a real archive"
  "/usr/share/orthanc/plugins/libOrthancDicomWeb.so:orthanc-dicomweb:DICOMweb with a real archive"
  "/usr/share/orthanc/plugins/libOrthancPython.so:orthanc-python:an Orthanc that sends by itself"
  "dciodvfy:dicom3tools:validity of the derived objects"
  "gdcmconv:libgdcm-tools:pixel values next to GDCM's"
  "opj_decompress:libopenjp2-tools:pixel values next to OpenJPEG's"
  "ojph_compress:openjph-tools:High-Throughput JPEG 2000 written by another encoder"
  "openssl:openssl:TLS"
  "promtool:prometheus:validity of the metrics page"
  "amtool:prometheus-alertmanager:alerts that reach a person"
  "nft:nftables:the firewall of the port sheet"
  "shellcheck:shellcheck:the scripts of the installation"
  "strace:strace:order of the system calls behind Success"
)

missing() {
  for peer in "${peers[@]}"; do
    command -v "${peer%%:*}" >/dev/null || [ -f "${peer%%:*}" ] || echo "$peer"
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
declare -A why
if ! command -v apt-get >/dev/null; then
  default="this system has no apt-get"
elif [ ${#as_root[@]} -gt 0 ] && ! sudo -n true 2>/dev/null; then
  default="installing it needs root (sudo apt-get install ${packages[*]})"
else
  default="its package did not bring it"
  echo "Installing ${packages[*]} ..."
  log=$(mktemp)
  "${as_root[@]}" apt-get update -qq >"$log" 2>&1
  # One by one: a package that this release lacks must not keep the others away.
  for package in "${packages[@]}"; do
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" \
      >"$log" 2>&1 || why[$package]="apt-get could not install $package: $(grep -m1 '^E:' "$log")"
  done
  rm -f "$log"
  # Those are services. What Debian starts is not ours to stop.
  for package in orthanc prometheus prometheus-alertmanager; do
    [[ " ${packages[*]} " == *" $package "* && -z ${why[$package]:-} ]] || continue
    echo "Debian may have started the service $package; the tests run their own on other ports." \
      "To end it: sudo systemctl disable --now $package"
  done
fi

mapfile -t absent < <(missing)
for peer in "${absent[@]}"; do
  rest=${peer#*:}
  echo "Will be skipped: tests of ${rest#*:}. No ${peer%%:*}: ${why[${rest%%:*}]:-$default}."
done
exit 0
