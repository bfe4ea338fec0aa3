# $1 is the number of versions that are left. After an upgrade the service restarts and the socket stays, so that clients
# wait and none fails.
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  if [ "$1" -ge 1 ]; then
    systemctl try-restart ecobee-tokend.service || :
  fi
fi
