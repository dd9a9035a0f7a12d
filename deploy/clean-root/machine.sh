# Read by ../try-clean-root.sh: the root as a running machine, by systemd-nspawn.
# shellcheck shell=bash
# shellcheck disable=SC2154  # root, cache, ... are set by the script that reads this

machine=""
leader=""

machine_up() { # until systemd in it has started everything
  local network=(--private-network) state
  if [ "$index" = yes ]; then network=(); use_index; fi
  "${CONTAINER[@]}" --directory="$root" --machine="${root##*/}" --boot --console=read-only "${network[@]}" "${binds[@]}" \
    </dev/null >>"$root.console" 2>&1 9>&- &
  machine=$!
  for _ in $(seq 300); do
    leader=$(pgrep --parent "$machine" | head -n 1 || true)
    state=$([ -z "$leader" ] || within systemctl is-system-running 2>/dev/null || true)
    case $state in running | degraded) return 0 ;; esac
    kill -0 "$machine" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$root.console" >&2
  stop "systemd did not come up in the root (state: ${state:-none}): this machine may not allow systemd-nspawn --boot."
}

machine_down() { # as when the power is cut: nothing in it is asked to end
  [ -n "$machine" ] || return 0
  [ -z "$leader" ] || kill -KILL "$leader" 2>/dev/null || true
  wait "$machine" 2>/dev/null || true
  machine="" leader=""
}

within() { # command, in the machine as its root
  nsenter --target "$leader" --mount --uts --ipc --net --pid --root -- \
    env --ignore-environment --chdir=/root HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${pip_settings[@]}" "$@"
}

binds=()
pip_settings=()

use_index() { # pip in the machine asks whom pip of this machine asks: its environment, its files, its local folders
  local name file word port files=()
  for port in 4242 8042 8080 11112; do # of Orthanc and of the node
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || stop "Port $port of this machine is taken: --index needs it free."
  done
  for name in $(compgen -e | grep -E '^(PIP_|SSL_CERT|REQUESTS_CA)' || true); do pip_settings+=("$name=${!name}"); done
  for file in etc/pip.conf root/.config/pip/pip.conf root/.pip/pip.conf; do
    [ -f "/$file" ] || continue
    files+=("/$file")
    install -D -m 0644 "/$file" "$root/$file"
  done
  for word in $(printf '%s\n' "${pip_settings[@]}" | cat - "${files[@]}" | grep -oE '(file://)?/[^ ,]+' || true); do
    word=${word#file://}
    word=${word%/simple} # a local index may have its files beside what lists them
    word=${word%/simple} # an index of files: what it lists lies beside its pages
    if [ -e "$word" ] && [[ $word != /etc/ssl/* ]]; then binds+=("--bind-ro=$word"); fi
  done
  binds+=("--bind-ro=/etc/ssl/certs")
}

clean_up() {
  local status=$?
  trap - EXIT
  machine_down
  if [ -n "${root:-}" ] && [ "$keep" = yes ]; then
    echo "The root is in $root, its console in $root.console"
  elif [ -n "${root:-}" ]; then
    # --one-file-system: should something still be mounted in it, it stays.
    rm -rf --one-file-system "$root" "$root.console" "$root.log" "$root.said"
  fi
  exit "$status"
}
