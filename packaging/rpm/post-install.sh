# $1 is the number of versions that are there now: 1 is a new installation. What is enabled is the distribution's and
# the administrator's decision, as for every rpm: a preset, or `systemctl enable --now ecobee-tokend`.
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers ecobee-tokend.conf || :
fi
if command -v systemd-tmpfiles >/dev/null; then
  systemd-tmpfiles --create ecobee-tokend.conf || :
fi
if [ "$1" -eq 1 ] && command -v systemctl >/dev/null; then
  systemctl --no-reload preset ecobee-tokend.socket ecobee-tokend.service || :
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
fi
