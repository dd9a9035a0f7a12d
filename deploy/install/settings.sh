# Read by ../install.sh: first settings. What is there is never touched.
# shellcheck shell=bash

ready=no # whether the settings are more than the example

require_settings_options() {
  [ "$ask" = no ] || [ -t 0 ] || stop "--ask needs a terminal." "Give --pacs, --ae-title and --plain instead."
  if [ -z "$pacs" ] && [ "$ask" = no ] && [ "$plain" = yes ]; then
    stop "--plain is about first settings, which --pacs asks for." "Give both, or set receiver.plain in $SETTINGS."
  fi
  # Before minutes of work; first_settings.py looks at it closely.
  [ -z "$pacs" ] || [ -e "$SETTINGS" ] || [[ $pacs =~ ^[^@]{1,16}@.+:[0-9]+$ ]] ||
    stop "--pacs $pacs is no archive." "Write title, address and port: --pacs PACS@10.0.0.5:104."
  [ -z "$pacs" ] || [ -e "$SETTINGS" ] || [ "$plain" = yes ] || [[ $pacs =~ @(127\.|\[::1\]) ]] ||
    stop "With --pacs alone images would travel without encryption." \
      "Add --plain if that network is closed; or leave --pacs out and fill [receiver.tls] in $SETTINGS."
}

ask_for_settings() {
  local answer
  [ ! -e "$SETTINGS" ] || return 0
  read -r -p "AE title, address and port of the PACS, as in PACS@10.0.0.5:104: " pacs
  read -r -p "AE title of this node [$title]: " answer
  title=${answer:-$title}
  read -r -p "Is the network between them closed, so that DICOM may go unencrypted? [y/N] " answer
  if [[ $answer == [yY]* ]]; then plain=yes; fi
  require_settings_options
}

first_settings() { # after the program is there: it is what knows whether settings are good
  if [ -e "$SETTINGS" ]; then
    ready=yes
    [ -z "$pacs" ] || say "$SETTINGS is there and stays as it is; --pacs, --ae-title and --plain are not used."
  elif [ -n "$pacs" ]; then
    write_settings "$PROGRAM/$target/bin/python" "$source/deploy/install/first_settings.py" \
      --pacs "$pacs" --ae-title "$title" --state "$STATE" --plain "$plain"
    ready=yes
    say "Wrote $SETTINGS."
  else
    write_settings cat "$source/deploy/node.example.toml"
  fi
  # Secrets that it names lie beside it; the node only reads them.
  chown "root:$NAME" "$SETTINGS"
  chmod 0640 "$SETTINGS"
}

write_settings() { # command that prints them
  "$@" >"$SETTINGS.new" || {
    rm -f "$SETTINGS.new"
    trap - ERR
    exit 1 # it said why
  }
  mv "$SETTINGS.new" "$SETTINGS"
}

say_what_to_fill() {
  cat <<TEXT

The program is installed; it does not run yet. $SETTINGS is the example with every setting. Delete the tables that
you do not need, and fill these lines, which are yours:

$(grep -n 'SITE' "$SETTINGS" | grep -v '^[0-9]*:#' | cut -c 1-110)

Then the same command again: it checks them and starts the node.
Shorter, for one PACS: rm $SETTINGS, then deploy/install.sh --ask
TEXT
}
