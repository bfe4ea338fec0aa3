# What can be said of the packages before anything boots. Sourced by run.
# shellcheck shell=bash

lints() {
  lintian --display-info --pedantic "$1" | tee "$WORK/lintian.log"
  # Every remark of the weight of a warning or an error fails; those that we know are overridden, with the reason.
  if grep -E '^[EW]:' "$WORK/lintian.log"; then
    return 1
  fi
}

manual_is_clean() {
  local page warnings
  for page in packaging/man/*.[1-8]; do
    warnings=$(mandoc -T lint -W warning "$page" 2>&1 | grep -v 'outdated mandoc.db' || true)
    expect "$warnings" "" "mandoc on $page"
    expect "$(MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)" "" "man on $page"
  done
}

completions_parse() {
  local file
  for file in packaging/completions/*.bash; do bash -n "$file"; done
  for file in packaging/completions/_*; do zsh -n "$file"; done
  for file in packaging/completions/*.fish; do fish -n "$file"; done
}

# rpm_installs RPM ROOT: into a copy of a clean Debian, for its shell, systemd and user database.
rpm_installs() {
  local file=$1 root=$WORK/rpm-root path mode
  expect "$(rpm --nosignature -qp --queryformat '[%{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME}\n]' "$file" | sort -u | paste -sd ';')" \
    "100644 root root;100755 root root" "modes and owners"
  expect "$(rpm --nosignature -qpc "$file")" /etc/ecobee-tokend/config.toml "configuration files"
  matches "$(rpm --nosignature -qp --scripts "$file")" 'systemd-sysusers ecobee-tokend.conf'
  matches "$(rpm --nosignature -qpR "$file")" '^systemd >= 252'
  rm -rf --one-file-system "$root"
  cp -ax --reflink=auto "$2" "$root"
  # The scriptlets run below this root, and systemd-tmpfiles wants /proc there. check has a shell of its own for this.
  mount -t proc proc "$root/proc"
  # shellcheck disable=SC2064
  trap "umount '$root/proc'; rm -rf --one-file-system '$root'" EXIT
  rpm --root "$root" --initdb
  rpm --root "$root" --nodeps --nosignature -ivh "$file"
  rpm --root "$root" --nosignature -V --nodeps ecobee-tokend
  expect "$(chroot "$root" /usr/bin/ecobee-tokend --version)" "ecobee-tokend $(rpm --root "$root" -q --queryformat '%{VERSION}' ecobee-tokend)" version
  expect "$(chroot "$root" stat -c '%U:%G %a' /etc/ecobee-tokend)" "root:ecobee-tokend 750" "the configuration's folder"
  chroot "$root" getent passwd ecobee-tokend
  chroot "$root" getent group ecobee
  for path in /usr/bin/ecobee-tokend:755 /usr/bin/ecobee-token:755 /usr/lib/systemd/system/ecobee-tokend.service:644; do
    mode=${path##*:}
    expect "$(stat -c %a "$root${path%:*}")" "$mode" "${path%:*}"
  done
  # A changed configuration outlives an upgrade, and the grants outlive everything.
  echo '# mine' >>"$root/etc/ecobee-tokend/config.toml"
  mkdir -p "$root/var/lib/ecobee-tokend"
  echo '{}' >"$root/var/lib/ecobee-tokend/home.json"
  rpm --root "$root" --nodeps --nosignature -U --replacepkgs --oldpackage "$file"
  expect "$(tail -n 1 "$root/etc/ecobee-tokend/config.toml")" '# mine' "the configuration after an upgrade"
  rpm --root "$root" --nodeps --nosignature -e ecobee-tokend
  test ! -e "$root/usr/bin/ecobee-tokend"
  test ! -e "$root/etc/systemd/system/multi-user.target.wants/ecobee-tokend.service"
  test -e "$root/var/lib/ecobee-tokend/home.json"
  test -e "$root/etc/ecobee-tokend/config.toml.rpmsave"
}
