# $1 is the number of versions that will be left: 0 is a removal, not an upgrade.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
  if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now ecobee-tokend.socket ecobee-tokend.service || :
  else
    systemctl --no-reload disable ecobee-tokend.socket ecobee-tokend.service || :
  fi
fi
