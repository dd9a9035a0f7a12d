# Read by ../try-clean-root.sh: what is promised, in the order in which an administrator meets it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # root, series, index, ... are set by the script that reads this

failed=0
PYTHON=/opt/imaging-node/current/bin/python

promise() { # words, command: it says ok or FAILED, and in that case what the command said
  local words=$1 before=$SECONDS status=0
  shift
  printf -- '\n--- %s\n' "$words" >>"$root.log"
  "$@" >"$root.said" 2>&1 </dev/null || status=$?
  cat "$root.said" >>"$root.log"
  if [ "$status" -eq 0 ]; then
    printf 'ok      %s (%d s)\n' "$words" $((SECONDS - before))
  else
    printf 'FAILED  %s (%d s)\n' "$words" $((SECONDS - before))
    tail -n 25 "$root.said" | sed 's/^/        | /'
    failed=$((failed + 1))
  fi
  rm -f "$root.said"
  return 0
}

refuses() { # what it must say, command that must fail
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "it did not fail: $said"
    return 1
  fi
  echo "$said"
  grep -qF -- "$what" <<<"$said"
}

archive() { within "$PYTHON" /srv/archive.py "$@"; }

install_release() { # number, options
  local options=(--wheels /srv/wheels)
  [ "$index" = no ] || options=()
  within "/srv/release-$1/deploy/install.sh" "${options[@]}" "${@:2}"
}

is_version() { [ "$(within imaging-node version)" = "$1" ]; }

has_column() { # how often the column of newer_release is in the records
  within "$PYTHON" -c "import sqlite3, sys
opened = sqlite3.connect('file:/var/lib/imaging-node/records.sqlite?mode=ro', uri=True)
found = [row[1] for row in opened.execute('PRAGMA table_info(deliveries)')].count('trial')
sys.exit(found != $1)"
}

fingerprint() { # of what an upgrade must not touch
  within sha256sum /etc/imaging-node/node.toml
  within stat -c '%a %U %G %n' /etc/imaging-node /etc/imaging-node/node.toml /var/lib/imaging-node
}

healthy() { within runuser -u imaging-node -- imaging-node check; }

interrupted() { # command that interrupts the node while a series is under way, which is sent before
  archive send "$1" 40 && archive busy 60 && "${@:2}" && archive wait 400
}

kill_all() {
  within systemctl kill --signal=KILL --kill-who=all imaging-node
  within bash -c 'for _ in $(seq 400); do systemctl is-active --quiet imaging-node && exit 0; sleep 0.3; done; exit 1'
}

power_cut() { machine_down && machine_up && within systemctl is-active imaging-node orthanc; }

same_as_before() { [ "$(fingerprint)" = "$1" ]; }

modes() { # owners and modes that the papers promise
  local expected='750 root imaging-node /etc/imaging-node
640 root imaging-node /etc/imaging-node/node.toml
700 imaging-node imaging-node /var/lib/imaging-node'
  diff <(fingerprint | tail -n 3) - <<<"$expected" && [ -z "$(within find /opt/imaging-node ! -user root)" ]
}

hardened() {
  within systemd-analyze verify /etc/systemd/system/imaging-node.service &&
    within systemd-analyze security --no-pager --threshold=20 imaging-node.service | tail -n 1
}

logged() { # JSON lines in the journal, from every start
  within journalctl --unit imaging-node --output cat --no-pager | grep -c '^{' | grep -qx '[1-9][0-9]*'
}

failed_upgrade() {
  refuses "Version 99.0.0 is back" install_release 3 && is_version 99.0.0 && within systemctl is-active imaging-node
}

nothing_left() {
  ! within ls -d /opt/imaging-node /usr/local/bin/imaging-node /etc/systemd/system/imaging-node.service "$@" 2>/dev/null
}

no_user() { ! within getent passwd imaging-node; }

backed_up() { # nightly, to a disk of its own: here a tmpfs
  local said
  within mount -t tmpfs -o mode=0700,uid=imaging-node none /var/backups/imaging-node &&
    within systemctl start imaging-node-backup.service &&
    said=$(within imaging-node backup --verify /var/backups/imaging-node) && echo "$said" && within umount /var/backups/imaging-node
}

no_backup_on_its_own_disk() { refuses "imaging-node-backup.service" within systemctl start imaging-node-backup.service; }

try_all() {
  local before started=$SECONDS
  promise "without settings of its own it installs, says which lines to fill, and does not start" without_settings
  promise "one command installs it and starts it for a PACS" install_release 1 --pacs ORTHANC@127.0.0.1:4242
  if ! within systemctl is-active --quiet imaging-node; then
    within journalctl --unit imaging-node --no-pager --lines 30 >&2 || true
    stop "Without a running node there is nothing to try."
  fi
  echo "        installed: $(within du -sm /opt/imaging-node/current/ | cut -f 1) MB"
  promise "imaging-node check is green, asked as the node's user" healthy
  promise "owners and modes: settings for root and the node, state for the node, program for root" modes
  promise "the unit passes systemd-analyze verify, exposure 2.0 or less" hardened
  promise "a series that Orthanc sends comes back to Orthanc derived, slice for slice" bash_all "archive send 1 40" "archive wait 300"
  [ -z "$series" ] || promise "so does the series of --series" bash_all "archive send-files /srv/series" "archive wait 600"
  promise "the journal has its lines" logged
  promise "systemctl restart in the middle of a series: nothing lost, nothing doubled" interrupted 2 within systemctl restart imaging-node
  promise "every process killed in the middle of a series: systemd starts it again, nothing lost or doubled" interrupted 3 kill_all
  promise "the machine's power is cut in the middle of a series: it comes up by itself, nothing lost or doubled" interrupted 4 power_cut
  promise "the backup unit makes a backup that can be verified, and none on the node's own disk" \
    bash_all backed_up no_backup_on_its_own_disk
  before=$(fingerprint)
  promise "the same command again changes nothing" bash_all "install_release 1 --pacs ORTHANC@127.0.0.1:4242" "same_as_before '$before'" healthy
  promise "upgrade in the middle of a series to a second version" interrupted 5 install_release 2
  promise "the second version runs; settings and state are as they were" bash_all "is_version 99.0.0" "same_as_before '$before'" healthy
  promise "an upgrade to a version that does not start leaves the second one running" failed_upgrade
  promise "it still makes a derived series" bash_all "archive send 6 20" "archive wait 300"
  promise "roll back: the first version runs, with its own tables" bash_all "has_column 1" "install_release 2 --roll-back" \
    "is_version $version" "has_column 0" healthy
  promise "it makes a derived series, too, and knows the earlier ones" bash_all "archive send 7 20" "archive wait 300"
  promise "--remove leaves settings and state" bash_all "install_release 1 --remove" nothing_left "within ls /etc/imaging-node/node.toml /var/lib/imaging-node/records.sqlite"
  promise "installed again it goes on with them" bash_all "install_release 1" healthy "archive send 8 20" "archive wait 300"
  promise "--remove --purge leaves nothing" bash_all "install_release 1 --remove --purge" \
    "nothing_left /etc/imaging-node /var/lib/imaging-node" no_user
  echo "$failed failed, after $((SECONDS - started)) s"
  [ "$failed" -eq 0 ]
}

without_settings() {
  install_release 1 && within grep -q SITE /etc/imaging-node/node.toml && ! within systemctl is-active imaging-node &&
    within rm /etc/imaging-node/node.toml
}

bash_all() { # commands, one after the other, until one fails
  local command
  for command in "$@"; do eval "$command" || return; done
}
