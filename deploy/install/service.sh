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
  local was_running=no earlier
  earlier=$(version_at former)
  say "From version $1 to $target: trying it on a copy of the records ..."
  node "$target" records try || stop "Version $target cannot take over the records (above)." \
    "Do what it says there, or report it.$(unchanged)"
  if systemd_runs && systemctl is-enabled --quiet "$NAME-backup.timer" 2>/dev/null; then
    systemctl start "$NAME-backup.service" ||
      stop "The backup before the upgrade failed." "See: journalctl -u $NAME-backup$(unchanged)"
  fi
  if serves; then
    was_running=yes
    systemctl stop "$NAME"
  fi
  point former "$1"
  use "$target"
  if [ "$start" = no ] || start_node; then return; fi
  say "Version $target does not start; going back to $1." >&2
  systemctl stop "$NAME"
  records_back "$target" "$1"
  use "$1"
  rm -f "$PROGRAM/former"
  [ -z "$earlier" ] || point former "$earlier"
  if [ "$was_running" = yes ]; then
    start_node || stop "Version $1 does not start any more (above)." "See deploy/RUNBOOK.md."
  fi
  stop "Version $target did not start (above)." "Version $1 is back. Report what the journal says: journalctl -u $NAME"
}

records_back() { # newer version, older one: the tables as the older one knows them, with all that is in them; node stopped
  local revision
  if node "$2" records status >/dev/null; then return; fi
  revision=$(node "$2" records status --json | sed -n 's/.*"program": "\([0-9a-z_]*\)".*/\1/p')
  node "$1" records downgrade --to "$revision" || stop "The records cannot be brought back to what $2 knows (above)." \
    "Start $1 again: systemctl start $NAME. To go back nevertheless restore a backup: deploy/RUNBOOK.md."
}

roll_back() {
  local from to
  from=$(version_at current)
  to=$(version_at former)
  [ -n "$to" ] && [ -f "$PROGRAM/$to/$MARK" ] ||
    stop "There is no version before ${from:-this one} on this machine." "Install it: deploy/install.sh of that release."
  say "From version $from back to $to ..."
  if [ -e "$SETTINGS" ]; then
    ready=yes
    may_start "$to" ||
      stop "Version $to does not take this machine's settings (above)." \
        "Take out of $SETTINGS what is newer than it.$(unchanged)"
  fi
  ! systemd_runs || systemctl stop "$NAME"
  [ "$ready" = no ] || records_back "$from" "$to"
  use "$to"
  point former "$from"
  if [ "$start" = no ] || ! systemd_runs; then
    say "Version $to is in use; it was not started."
    return
  fi
  start_node || stop "Version $to does not start (above)." "deploy/install.sh --roll-back goes forward to $from again."
  finish
}

use() { # version: links and units
  [ "$(version_at current)" = "$1" ] || changed=yes
  point current "$1"
  mkdir -p "${COMMAND%/*}"
  ln -sfn "$PROGRAM/current/bin/$NAME" "$COMMAND"
  install_units "$1"
  fit_unit "$1"
  ! systemd_runs || systemctl daemon-reload
}

install_units() { # version: each brings its own
  local unit
  for unit in "$PROGRAM/$1/share/deploy/systemd"/*.{service,timer}; do
    [ -f "$unit" ] || continue
    ! cmp --silent "$unit" "$UNITS/${unit##*/}" || continue
    install -m 0644 "$unit" "$UNITS/"
    changed=yes
  done
}

fit_unit() { # version: what the settings need beyond the unit, as folders elsewhere or a port below 1024
  local folder=$UNITS/$NAME.service.d said
  [ "$ready" = yes ] || return 0
  said=$("$PROGRAM/$1/bin/python" "$PROGRAM/$1/share/deploy/install/unit_needs.py" "$SETTINGS")
  if [ -n "$said" ]; then
    install -d -m 0755 "$folder"
    cmp --silent - "$folder/$DROP_IN" <<<"$said" || changed=yes
    echo "$said" >"$folder/$DROP_IN"
  elif [ -e "$folder/$DROP_IN" ]; then
    rm -f "$folder/$DROP_IN"
    changed=yes
  fi
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
