# What the scripts of the tests say alike. Sourced by them.
# shellcheck shell=bash

# skip WHAT WHY: leaves, and says so.
skip() {
  printf '\n*** SKIPPED: %s, for %s. Nothing of it was checked. ***\n' "$1" "$2"
  exit 0
}

# needs WHAT PROGRAM…: skips it where a program is missing.
needs() {
  local what=$1 program
  shift
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "$what" "there is no $program"
  done
}

# until_true SECONDS CMD ARGS…: tries until it succeeds.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# build_test_programs: the workspace's programs. With an example they have the features that the tests give them, so that
# whoever has compiled the tests has nothing left to compile.
build_test_programs() {
  cargo build --quiet --locked --workspace --bins --example demo
}

# start_simulator PROGRAM FOLDER ARGS…: the pretend ecobee, at $url, as the process $simulator.
start_simulator() {
  local pipe=$2/url
  mkfifo "$pipe"
  "$1" --listen 127.0.0.1:0 "${@:3}" >"$pipe" &
  # shellcheck disable=SC2034 # Whoever starts it ends it.
  simulator=$!
  # The pipe ends without a line if it does not start.
  read -r url <"$pipe" || {
    echo "the simulator did not start" >&2
    return 1
  }
}
