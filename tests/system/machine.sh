# A Debian of its own, booted under its own systemd, with no network but a loopback of its own. Sourced by run.
# shellcheck shell=bash

# make_root RELEASE: prints the folder of a clean Debian, from the cache or made now.
make_root() {
  local release=$1 suite root
  suite=${SUITES[$release]}
  # The list of packages is part of the name: another list, another root.
  root="$CACHE/debian-$release-$(printf '%s' "$ROOT_PACKAGES" | sha256sum | cut -c 1-12)"
  if [ ! -d "$root" ]; then
    echo "making a Debian $release root in $root" >&2
    rm -rf "$root.new"
    mkdir -p "$CACHE"
    debootstrap --variant=minbase --include="$ROOT_PACKAGES" "$suite" "$root.new" >"$root.log" 2>&1 || {
      tail -n 20 "$root.log" >&2
      return 1
    }
    rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
    mv "$root.new" "$root"
  fi
  echo "$root"
}

# start_outside PROGRAM: the pretend ecobee, outside of the machine, which thus may reboot, but on its network.
start_outside() {
  # shellcheck disable=SC2016
  unshare --net sh -c 'ip link set lo up && exec "$0" --listen 127.0.0.1:8765 --interval 1' "$1" \
    </dev/null >"$WORK/simulator.log" 2>&1 &
  SIMULATOR=$!
  until_true 20 grep -q '^http:' "$WORK/simulator.log"
}

end_simulator() {
  [ -n "${SIMULATOR:-}" ] || return 0
  kill "$SIMULATOR" 2>/dev/null || true
  wait "$SIMULATOR" 2>/dev/null || true
  SIMULATOR=
}

# boot ROOT: starts it and waits until its systemd is up.
boot() {
  MACHINE_ROOT=$1
  # systemd 256 and newer know the unified hierarchy only, whatever the host has.
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 setsid systemd-nspawn --quiet --keep-unit --register=no \
    --network-namespace-path "/proc/$SIMULATOR/ns/net" \
    --directory "$MACHINE_ROOT" --machine "ecobee-tokend-$$" --boot --console=pipe \
    </dev/null >"$WORK/console.log" 2>&1 &
  NSPAWN=$!
  wait_booted
}

# The first process of the machine: nspawn's child.
leader() {
  local child
  # shellcheck disable=SC2013 # The file is one line of numbers.
  for child in $(cat "/proc/$NSPAWN/task/$NSPAWN/children" 2>/dev/null); do
    if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ]; then
      echo "$child"
    fi
  done
}

wait_booted() {
  until_true 120 is_up || {
    tail -n 30 "$WORK/console.log" >&2
    echo "the machine does not come up" >&2
    return 1
  }
}

is_up() {
  LEADER=$(leader)
  [ -n "$LEADER" ] && inside systemctl is-active --quiet multi-user.target
}

# inside CMD ARGS…: runs it as root in the machine.
inside() {
  nsenter -t "$LEADER" -m -u -i -n -p -C -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive SYSTEMD_PAGER= SYSTEMD_COLORS=0 HOME=/root "$@"
}

# as USER CMD ARGS…: runs it as this user with the user's groups.
as() {
  local user=$1
  shift
  inside setpriv --reuid "$user" --regid "$user" --init-groups "$@"
}

# A reboot as people do it. With --keep-unit, nspawn leaves the second start to whoever started it, by exit status 133.
reboot_machine() {
  local status=0
  inside systemctl reboot >/dev/null 2>&1 || true
  wait "$NSPAWN" || status=$?
  NSPAWN=
  if [ "$status" != 133 ]; then
    echo "the machine ended with $status in place of a reboot" >&2
    return 1
  fi
  boot "$MACHINE_ROOT"
}

# Ends the machine, and with it everything in it: the first process takes all others along, politely or not.
halt_machine() {
  [ -n "${NSPAWN:-}" ] || return 0
  local child
  # SIGRTMIN+4 to systemd is a power off; at a time when the first process is something else, it is killed below.
  child=$(leader)
  [ -z "$child" ] || kill -RTMIN+4 "$child" 2>/dev/null || true
  gone() { ! kill -0 "$NSPAWN" 2>/dev/null; }
  if [ -z "$child" ] || ! until_true 30 gone; then
    # shellcheck disable=SC2046,SC2013
    kill -KILL $(cat "/proc/$NSPAWN/task/$NSPAWN/children" 2>/dev/null) 2>/dev/null || true
    until_true 5 gone || kill -KILL "$NSPAWN" 2>/dev/null || true
  fi
  wait "$NSPAWN" 2>/dev/null || true
  NSPAWN=
}
