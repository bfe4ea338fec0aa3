# What the two package scripts share. Sourced, with the repository's root as the working folder.
# shellcheck shell=bash

# Debian 12's. A binary that wants a newer one would not start there.
readonly OLDEST_GLIBC=2.36

# Two builds of one commit give the same bytes, wherever the repository, the toolchain and the caches lie: every time in
# a package is the commit's, and no path of this machine gets into the programs.
export SOURCE_DATE_EPOCH CARGO_TARGET_DIR CARGO_INCREMENTAL=0 TZ=UTC LC_ALL=C.UTF-8
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# Apart from other builds: the flags below would have everything compiled anew at each change between them.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/packages
# What a package holds beside the programs; the lists in Cargo.toml name it.
readonly STAGE=target/stage
umask 022

# The newest version, without what cargo adds to it.
version() { cargo metadata --no-deps --locked --format-version 1 | sed 's/.*"name":"ecobee-tokend","version":"\([^"]*\)".*/\1/'; }

# need_tool NAME: installs a cargo subcommand where it is missing. A debug build of it takes half the time to compile,
# and it packs a few megabytes.
need_tool() {
  command -v "$1" >/dev/null || cargo install --locked --debug "$1"
}

# build_programs [TRIPLE]
build_programs() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} flags
  flags="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/source"
  flags+=" --remap-path-prefix=$CARGO_TARGET_DIR=/target"
  # The C parts of the cryptography see the same.
  export CFLAGS="-g0 -O2 -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$CARGO_TARGET_DIR=/target"
  RUSTFLAGS="$flags" cargo build --release --locked --package ecobee-tokend --bins ${1:+--target "$1"}
  local folder="$CARGO_TARGET_DIR/${1:+$1/}release" program newest
  for program in ecobee-tokend ecobee-token; do
    newest=$(objdump -T "$folder/$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    if [ "$(printf '%s\n' "$newest" "$OLDEST_GLIBC" | sort -V | tail -n 1)" != "$OLDEST_GLIBC" ]; then
      echo "$program wants glibc $newest, and Debian 12 has $OLDEST_GLIBC: build it on Debian 12" >&2
      return 1
    fi
  done
}

# stage REVISION: man pages compressed, the change log in Debian's form, the licences of what is linked in.
stage() {
  rm -rf "$STAGE"
  mkdir -p "$STAGE"
  local page
  for page in packaging/man/*.[1-8]; do
    gzip -9n <"$page" >"$STAGE/${page##*/}.gz"
  done
  packaging/debian-changelog "$(version)-$1" >"$STAGE/changelog.Debian"
  packaging/licences >"$STAGE/licences"
  gzip -9nk "$STAGE/licences"
}
