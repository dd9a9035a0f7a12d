# Read by ../install.sh: what runs: first start, upgrade, roll-back, removal.
# shellcheck shell=bash

changed=no # whether what runs is no longer what is installed

serves() { systemd_runs && systemctl is-active --quiet "$NAME"; }

node() { # version, command, options: as the node's user, since some write beside the records
  "${AS_NODE[@]}" "$PROGRAM/$1/bin/$NAME" "$2" "${@:3}" --settings "$SETTINGS"
}

may_start() { # version
  "${AS_NODE[@]}" "$PROGRAM/$1/bin/python" "$PROGRAM/$1/share/deploy/install/may_start.py" "$SETTINGS"
}

install_or_upgrade() {
  local before
  before=$(version_at current)
  if [ "$ready" = no ]; then
    use "$target"
    say_what_to_fill
    return
  fi
  may_start "$target" ||
    stop "Version $target does not take this machine's settings (above)." "Change $SETTINGS as it says.$(unchanged)"
  if [ -z "$before" ] || [ "$before" = "$target" ]; then
    use "$target"
    if [ "$start" = yes ]; then
      start_node || stop "Version $target does not start (above)." "Mend what is said there, then the same command again."
    fi
  else
    upgrade "$before"
  fi
  remove_old_versions
  if [ "$start" = no ]; then
    say "Installed, not started. To start it: systemctl enable --now $NAME"
  else
    finish
  fi
}

upgrade() { # the version before; nothing is switched until the new one has said yes to settings and records
  say "From version $1 to $target: trying it on a copy of the records ..."
  node "$target" records try || stop "Version $target cannot take over the records (above)." \
    "Do what it says there, or report it.$(unchanged)"
  if systemd_runs && systemctl is-enabled --quiet "$NAME-backup.timer" 2>/dev/null; then
    systemctl start "$NAME-backup.service" ||
      stop "The backup before the upgrade failed." "See: journalctl -u $NAME-backup$(unchanged)"
  fi
  switch "$target" "$1"
}

roll_back() {
  local from to
  from=$(version_at current)
  to=$(version_at former)
  [ -n "$to" ] && [ -f "$PROGRAM/$to/$MARK" ] ||
    stop "There is no version before ${from:-this one} on this machine." "Install it: deploy/install.sh of that release."
  [ -e "$SETTINGS" ] || stop "There are no settings, so no node ran here." "deploy/install.sh --pacs ..., see --help."
  ready=yes
  systemd_runs || start=no
  say "From version $from back to $to ..."
  may_start "$to" || stop "Version $to does not take this machine's settings (above)." \
    "Take out of $SETTINGS what is newer than it.$(unchanged)"
  switch "$to" "$from"
  if [ "$start" = yes ]; then finish; else say "Version $to is in use; it was not started."; fi
}

switch() { # version that is to run, the one until now, which goes on if the other does not start
  local wanted=no
  if systemd_runs && { serves || systemctl is-enabled --quiet "$NAME" 2>/dev/null; }; then
    wanted=yes
    systemctl stop "$NAME"
  fi
  if fit_records "$1" "$2" && use "$1" && { [ "$start" = no ] || start_node; }; then
    point former "$2"
    return
  fi
  say "Version $1 does not start; going back to $2." >&2
  ! systemd_runs || systemctl stop "$NAME"
  fit_records "$2" "$1" || stop "The records do not fit version $2 any more (above)." \
    "See deploy/RUNBOOK.md; what the records were lies beside them in $STATE."
  use "$2"
  [ "$wanted" = no ] || start_node || stop "Version $2 does not start any more (above)." "See deploy/RUNBOOK.md."
  stop "Version $1 did not start (above)." "Version $2 is back. Report what the journal says: journalctl -u $NAME"
}

fit_records() { # version that is to run, the other one: its tables, with all that is in them; node stopped
  local said revision
  said=$(node "$1" records status --json) || true
  revision=$(sed -n 's/.*"program": "\([0-9a-z_]*\)".*/\1/p' <<<"$said")
  case $said in
    *'"fit": "older"'*) node "$1" records upgrade ;; # now, since systemd does not wait for a start that takes minutes
    *'"fit": "newer"'*) node "$2" records downgrade --to "$revision" ;;
    *) [ -n "$revision" ] ;;
  esac
}

use() { # version: links and units
  [ "$(version_at current)" = "$1" ] || changed=yes
  point current "$1" && mkdir -p "${COMMAND%/*}" && ln -sfn "$PROGRAM/current/bin/$NAME" "$COMMAND" &&
    install_units "$1" && fit_unit "$1" || return
  ! systemd_runs || systemctl daemon-reload
}

install_units() { # version: each brings its own
  local unit
  for unit in "$PROGRAM/$1/share/deploy/systemd"/*.{service,timer}; do
    if [ -f "$unit" ] && ! cmp --silent "$unit" "$UNITS/${unit##*/}"; then
      install -m 0644 "$unit" "$UNITS/" || return
      changed=yes
    fi
  done
}

fit_unit() { # version: what the settings need beyond the unit, as folders elsewhere or a port below 1024
  local folder=$UNITS/$NAME.service.d said
  [ "$ready" = yes ] || return 0
  said=$("$PROGRAM/$1/bin/python" "$PROGRAM/$1/share/deploy/install/unit_needs.py" "$SETTINGS") || return
  [ "$said" != "$(cat "$folder/$DROP_IN" 2>/dev/null)" ] || return 0
  changed=yes
  rm -f "$folder/$DROP_IN"
  [ -z "$said" ] || { install -d -m 0755 "$folder" && echo "$said" >"$folder/$DROP_IN"; }
}

start_node() { # it returns when the node serves; what runs already and is what it was goes on
  systemctl enable --quiet "$NAME"
  [ "$changed" = yes ] || ! serves || return 0
  systemctl reset-failed "$NAME" 2>/dev/null || true
  systemctl restart "$NAME" && return
  journalctl --unit "$NAME" --output cat --lines 15 --no-pager >&2 || true
  return 1
}

finish() {
  say "Version $(version_at current) runs after $((SECONDS - begun)) s. What imaging-node check says:"
  node current check && return
  node current check --local >/dev/null ||
    stop "The node runs, but a part of it is not well (above)." "Mend what is said there, then: $NAME check"
  say "The node itself is well. What is red above is another machine: $NAME check, once it is there."
}

remove_old_versions() { # all but the one in use and the one before
  local folder
  for folder in "$PROGRAM"/*/; do
    folder=$(basename "$folder")
    case $folder in
      current | former | "$(version_at current)" | "$(version_at former)") ;;
      *) rm -rf "${PROGRAM:?}/$folder" ;;
    esac
  done
}

remove() {
  local unit folder
  if systemd_runs; then systemctl disable --now --quiet "$NAME" "$NAME-backup.timer" 2>/dev/null || true; fi
  for unit in "$PROGRAM"/current/share/deploy/systemd/*.{service,timer}; do
    [ ! -f "$unit" ] || rm -f "$UNITS/${unit##*/}"
  done
  rm -f "$UNITS/$NAME.service.d/$DROP_IN" "$COMMAND"
  ! systemd_runs || systemctl daemon-reload
  rm -rf "$PROGRAM"
  if [ "$purge" = no ]; then
    say "Removed. Still there: $SETTINGS_FOLDER, $STATE, $BACKUPS and the user $NAME."
    say "To remove settings and state, too, with every image and record in them: deploy/install.sh --remove --purge"
    return
  fi
  for folder in "$SETTINGS_FOLDER" "$STATE"; do
    [ -d "$folder" ] || continue
    find "$folder" -mindepth 1 -delete
    rmdir "$folder" 2>/dev/null || say "$folder is empty now; it is a mount point."
  done
  ! getent passwd "$NAME" >/dev/null || userdel "$NAME"
  ! getent group "$NAME" >/dev/null || groupdel "$NAME"
  say "Removed, with settings and state. Backups in $BACKUPS stay."
}
