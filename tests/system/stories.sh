# What the installed service has to show, each story a line of the report. Sourced by run.
# shellcheck shell=bash

readonly SOCKET=/run/ecobee-tokend/socket
readonly CONFIG=/etc/ecobee-tokend/config.toml
readonly API_KEY=og2Obost3ucRo1ofo0EDoslGltmFMe2g

# --- words of the stories

# simulator ROUTE [JSON]: an order to the pretend ecobee.
simulator() {
  inside curl -sS --fail-with-body --max-time 20 "http://127.0.0.1:8765/_control$1" ${2:+-d "$2"}
}

# How many calls ecobee has seen.
calls() { simulator /calls | grep -o '"id"' | wc -l; }

pins_asked_for() { simulator /calls | grep -o '"kind": *"authorize"' | wc -l; }

service() { inside systemctl show ecobee-tokend.service --value --property "$1"; }

# ask USER ROUTE: as a script of that user would.
ask() { as "$1" curl -sS --fail-with-body --max-time 30 --unix-socket "$SOCKET" "http://localhost$2"; }

token() { ask alice /token; }

is_running() { [ "$(service ActiveState)/$(service SubState)" = active/running ]; }

# configure [LINE [KEY]]: the account, with this further line in its section, and with this instead of its key file.
configure() {
  local key='api-key-file = "home.key"'
  inside tee "$CONFIG" >/dev/null <<TOML
[ecobee]
url = "http://127.0.0.1:8765"

[accounts.home]
${2:-$key}
${1:-}
TOML
}

# What was said of and by the service since the mark. (--after-cursor with -u loses a line in systemd 252.)
told() { inside journalctl --sync && inside journalctl -u ecobee-tokend.service -o cat --no-pager; }
mark() { MARK=$(told | wc -l); }
said() { told | tail -n "+$((MARK + 1))"; }

# expect VALUE WANTED WHAT
expect() {
  echo "$3: $1 (wanted: $2)"
  [ "$1" = "$2" ]
}

# matches TEXT PATTERN
matches() {
  printf '%s\n' "$1"
  grep -qE -- "$2" <<<"$1" || {
    echo "does not match: $2"
    return 1
  }
}

# under_load CMD ARGS…: runs it while 200 scripts a second ask for a token; none fails, and ecobee is not called.
under_load() {
  local before output
  before=$(calls)
  output=$WORK/load.log
  inside rm -f /tmp/enough
  as alice python3 /usr/local/lib/load.py "$SOCKET" 200 /tmp/enough >"$output" 2>&1 &
  local load=$!
  until_true 10 grep -q asking "$output"
  local status=0
  sleep 1 # some load before, and some after
  "$@" || status=$?
  sleep 2
  inside touch /tmp/enough
  wait "$load"
  cat "$output"
  [ "$status" = 0 ]
  grep -q ' failed=0 ' "$output"
  [ "$(sed -n 's/^asked=\([0-9]*\) .*/\1/p' "$output")" -gt 400 ]
  expect "$(calls)" "$before" "calls to ecobee"
}

# --- the stories, in the order in which they happen

installs() {
  inside apt-get install -y --no-install-recommends "/root/$1"
  is_running
  expect "$(inside systemctl is-active ecobee-tokend.socket)" active socket
  expect "$(inside systemctl is-enabled ecobee-tokend.service)" enabled service
  expect "$(service User)" ecobee-tokend user
}

tells_what_to_do() {
  is_running
  matches "$(inside systemctl status ecobee-tokend)" 'Status: "no account is configured: add an \[accounts'
  expect "$(service NRestarts)" 0 restarts
}

verifies() {
  expect "$(inside systemd-analyze verify ecobee-tokend.service ecobee-tokend.socket 2>&1)" "" "systemd-analyze verify"
  local units=/usr/lib/systemd/user/ecobee-tokend
  expect "$(inside env XDG_RUNTIME_DIR=/run systemd-analyze --user verify $units.service $units.socket 2>&1)" "" \
    "systemd-analyze --user verify"
}

is_started_by_its_socket() {
  inside systemctl stop ecobee-tokend.service ecobee-tokend.socket
  configure
  inside install -m 640 -g ecobee-tokend /dev/null /etc/ecobee-tokend/home.key
  inside tee /etc/ecobee-tokend/home.key >/dev/null <<<"$API_KEY"
  inside systemctl start ecobee-tokend.socket
  expect "$(service ActiveState)" inactive service
  matches "$(ask alice /status)" '"home"'
  is_running
}

goes_from_pin_to_token() {
  shown() { inside systemctl status ecobee-tokend | grep -oE 'enter PIN [A-Z0-9]{4}-[A-Z0-9]{4}'; }
  until_true 20 shown
  local pin
  pin=$(shown | head -n 1)
  matches "$(inside journalctl -u ecobee-tokend -o cat --no-pager)" "$pin"
  simulator /approve '{"pin": "latest"}'
  until_true 20 token
  matches "$(inside systemctl status ecobee-tokend)" 'home: token good until'
  matches "$(simulator /state)" "\"token\":\"$(token)\"|$(token)"
}

opens_to_its_group_only() {
  token
  expect "$(as bob python3 -c "
import errno, socket
try:
    socket.socket(socket.AF_UNIX).connect('$SOCKET')
    print('connected')
except OSError as error:
    print(errno.errorcode[error.errno])")" EACCES "who is outside the group"
  expect "$(inside stat -c '%U:%G %a' "$SOCKET")" "root:ecobee 660" socket
}

is_sandboxed() {
  local table pid
  table=$(inside systemd-analyze security --no-pager ecobee-tokend.service)
  grep '✗' <<<"$table" || true
  tail -n 1 <<<"$table"
  inside systemd-analyze security --threshold=13 ecobee-tokend.service >/dev/null
  pid=$(service MainPID)
  expect "$(inside sed -nE 's/^(NoNewPrivs|Seccomp|CapEff):\s*//p' "/proc/$pid/status" | paste -sd ' ')" \
    "0000000000000000 1 2" "capabilities, no new privileges, seccomp"
  expect "$(inside sed -nE 's/^Uid:\s*([0-9]+).*/\1/p' "/proc/$pid/status")" "$(inside id -u ecobee-tokend)" user
  expect "$(inside stat -c '%U %a' /var/lib/ecobee-tokend)" "ecobee-tokend 700" "the store"
  # It asks ecobee for a token, saves it and lends it, under all of this.
  local before
  before=$(calls)
  mark
  as alice curl -sS --fail-with-body -X POST --unix-socket "$SOCKET" http://localhost/refresh
  expect "$(calls)" "$((before + 1))" "calls to ecobee"
  expect "$(said | grep -c 'could not be saved' || true)" 0 "trouble with saving"
}

may_lock_memory() { inside grep -qE '^Max locked memory +unlimited' "/proc/$(service MainPID)/limits"; }

locks_its_memory() {
  matches "$(inside grep '^VmLck:' "/proc/$(service MainPID)/status")" '[[:space:]][1-9]'
  matches "$(inside grep '^VmSwap:' "/proc/$(service MainPID)/status")" '[[:space:]]0 kB'
}

restarts_under_load() {
  local pid
  pid=$(service MainPID)
  under_load inside systemctl restart ecobee-tokend
  [ "$(service MainPID)" != "$pid" ]
}

upgrades_under_load() {
  local pid
  pid=$(service MainPID)
  # Asked nothing, dpkg keeps a configuration that was changed.
  under_load inside apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "/root/$1"
  [ "$(service MainPID)" != "$pid" ]
  matches "$(inside dpkg-query -W -f '${Version}' ecobee-tokend)" '-2$'
}

outlives_a_kill() {
  local before
  before=$(calls)
  inside systemctl kill --signal=KILL --kill-whom=main ecobee-tokend.service
  token
  is_running
  expect "$(service NRestarts)" 1 restarts
  expect "$(calls)" "$before" "calls to ecobee"
  matches "$(ask alice /status)" '"pin": ?null'
}

is_woken_by_the_watchdog() {
  expect "$(service WatchdogUSec)" 3min "the watchdog's time"
  inside mkdir -p /run/systemd/system/ecobee-tokend.service.d
  inside tee /run/systemd/system/ecobee-tokend.service.d/short.conf >/dev/null <<<$'[Service]\nWatchdogSec=4s'
  inside systemctl daemon-reload
  inside systemctl restart ecobee-tokend
  local pid
  pid=$(service MainPID)
  sleep 5 # longer than the watchdog's time: the loop feeds it
  expect "$(service MainPID)" "$pid" "the process after a while"
  mark
  inside systemctl kill --signal=STOP --kill-whom=main ecobee-tokend.service
  other() { is_running && [ "$(service MainPID)" != "$pid" ]; }
  until_true 30 other
  token
  matches "$(said)" 'Watchdog timeout'
  inside rm -r /run/systemd/system/ecobee-tokend.service.d
  inside systemctl daemon-reload
  inside systemctl restart ecobee-tokend
}

ends_with_78_and_without_a_loop() {
  inside systemctl stop ecobee-tokend.service ecobee-tokend.socket
  configure 'alow-users = ["alice"]'
  inside systemctl start ecobee-tokend.socket
  mark
  inside rm -f /tmp/enough
  as alice sh -c "until [ -e /tmp/enough ]; do curl -s --max-time 5 --unix-socket $SOCKET http://localhost/token; done" >/dev/null 2>&1 &
  local knocking=$!
  failed() { [ "$(service ActiveState)" = failed ]; }
  until_true 20 failed
  sleep 8 # a loop would show: RestartSec is 5 s, and the clients knock all the while
  expect "$(service ActiveState)" failed service
  expect "$(service ExecMainStatus)" 78 "exit status"
  expect "$(said | grep -c '^Starting ')" 1 starts
  matches "$(inside systemctl status ecobee-tokend || true)" 'Status: ".*config.toml:6: accounts.home.alow-users: .*allow-users'
  configure
  inside systemctl restart ecobee-tokend
  token
  inside touch /tmp/enough
  wait "$knocking"
  is_running
}

reloads_and_keeps_what_is_good() {
  local before pid
  before=$(calls)
  pid=$(service MainPID)
  configure 'allow-users = ["alice"]'
  inside systemctl reload ecobee-tokend
  refused() { { ask carol /token || true; } | grep -q forbidden; }
  until_true 20 refused
  mark
  configure 'allow-users = "nonsense'
  inside systemctl reload ecobee-tokend || true
  complained() { said | grep -q 'config.toml:6'; }
  until_true 20 complained
  said
  is_running
  token
  refused
  expect "$(service MainPID)" "$pid" process
  expect "$(calls)" "$before" "calls to ecobee"
  configure
  inside systemctl reload ecobee-tokend
  until_true 20 ask carol /token
}

# code USER METHOD ROUTE [BODY]: the status of the answer that this user gets; 000 where nobody lets the user in.
code() {
  as "$1" curl -s -o /dev/null -w '%{http_code}' --max-time 30 -X "$2" ${4:+-d "$4"} --unix-socket "$SOCKET" "http://localhost$3" || true
}

# row USER: of each account, whether the user gets its token, may say that one is rejected, and sees its status.
row() {
  local account
  printf '%-14s' "$1"
  for account in home cabin barn office; do
    printf '  %s %s %s' "$(code "$1" GET "/accounts/$account/token")" \
      "$(code "$1" POST "/accounts/$account/token/rejected" another)" "$(code "$1" GET "/accounts/$account/status")"
  done
  printf '\n'
}

lends_to_whom_the_lists_name() {
  local account uid
  inside groupadd hvac
  inside groupadd owners
  inside usermod -aG hvac alice
  inside usermod -aG owners carol
  inside usermod -aG hvac,owners bob # who is in no group that may connect
  inside usermod -aG ecobee ecobee-tokend
  configure
  inside tee -a "$CONFIG" >/dev/null <<'TOML'
[accounts.cabin]
api-key = "a1made1up1key1of1the1system1test1"
allow-groups = ["hvac"]
[accounts.barn]
api-key = "a2made2up2key2of2the2system2test2"
allow-users = ["alice"]
allow-groups = ["owners"]
[accounts.office]
api-key = "a3made3up3key3of3the3system3test3"
allow-users = ["carol"]
TOML
  inside systemctl reload ecobee-tokend
  for account in cabin barn office; do
    asked() { ask root "/accounts/$account/pin"; }
    until_true 20 asked
    simulator /approve "{\"pin\": $(asked | grep -o '"pin": *"[^"]*"' | cut -d : -f 2)}" >/dev/null
  done
  for account in cabin barn office; do
    until_true 20 ask root "/accounts/$account/token"
  done
  mark
  local table wanted
  table=$(for user in root ecobee-tokend alice carol bob; do row "$user"; done)
  wanted=$(
    printf '%-14s  %s\n' \
      root "200 200 200  200 200 200  200 200 200  200 200 200" \
      ecobee-tokend "200 200 200  200 200 200  200 200 200  200 200 200" \
      alice "200 200 200  200 200 200  200 200 200  403 403 200" \
      carol "200 200 200  403 403 200  200 200 200  200 200 200" \
      bob "000 000 000  000 000 000  000 000 000  000 000 000"
  )
  printf '%-14s  %-13s%-13s%-13s%s\n%s\n' "" "home: all" "cabin: @hvac" "barn: alice, @owners" " office: carol" "$table" | tee "$WORK/who.txt"
  [ "$table" = "$wanted" ]
  uid=$(inside id -u alice)
  matches "$(said)" 'office: refused: neither allow-users nor allow-groups name this user'
  matches "$(inside journalctl -u ecobee-tokend -o json --no-pager | grep 'office: refused')" "\"UID\":\"$uid\""
  configure
  inside systemctl restart ecobee-tokend
  until_true 20 token
}

# The script of README that calls curl, as it stands but for the address of the service.
script_of_readme() {
  awk '/^```sh$/ { block = ""; on = 1; next } /^```$/ { if (on && block ~ /exec curl --silent --show-error --fail --data/) printf "%s", block; on = 0 }
    on { block = block $0 "\n" }' README.md | sed 's,https://ntfy.sh/your-topic,http://127.0.0.1:9000/topic,'
}

# told_of_a_pin_and_its_end COUNT: the grant ends, a PIN is asked for and entered; so many messages have come each way.
told_of_a_pin_and_its_end() {
  local pin
  simulator /revoke '{"all": true}' >/dev/null
  token | as alice curl -sS -o /dev/null --data-binary @- --unix-socket "$SOCKET" http://localhost/token/rejected || true
  shown() { ask alice /pin; }
  until_true 30 shown
  pin=$(shown | sed -n 's/.*"pin": *"\([^"]*\)".*/\1/p')
  came() { [ "$(inside grep -c "^$1 .*$2" /tmp/hook.log)" = 1 ]; }
  until_true 20 came /hook "\"pin-waiting\".*$pin"
  until_true 20 came /topic "enter PIN $pin"
  simulator /approve '{"pin": "latest"}' >/dev/null
  until_true 20 token
  ended() { [ "$(inside grep -c "^/hook .*\"token-back\"" /tmp/hook.log)/$(inside grep -c '^token-back ' /var/lib/ecobee-tokend/told)" = "$1/$1" ]; }
  until_true 20 ended "$1"
  inside cat /tmp/hook.log /var/lib/ecobee-tokend/told
  inside grep "^pin-waiting .*$pin .*\"$pin\"" /var/lib/ecobee-tokend/told
}

tells_people_from_inside_the_sandbox() {
  inside rm -f /tmp/hook.log /var/lib/ecobee-tokend/told
  # A unit of the machine's own: a process that came in from outside would hold up its end.
  inside systemd-run --quiet --collect --unit=hook --uid=alice --property=StandardOutput=file:/tmp/hook.out \
    python3 /usr/local/lib/hook.py 9000 /tmp/hook.log
  until_true 10 inside grep -q listening /tmp/hook.out
  script_of_readme | inside tee /usr/local/bin/tell-me >/dev/null
  inside grep -q '^exec curl .*/topic$' /usr/local/bin/tell-me
  # A shell script: notes the facts of both kinds, and who a setuid program is; then becomes the one that calls curl.
  inside tee /usr/local/bin/note >/dev/null <<'SH'
#!/bin/sh
set -e
echo "$ECOBEE_TOKEND_EVENT $ECOBEE_TOKEND_PIN $(cat) $(/usr/local/bin/mailer -u)" >> /var/lib/ecobee-tokend/told
exec /usr/local/bin/tell-me
SH
  inside install -m 4755 /usr/bin/id /usr/local/bin/mailer
  inside chmod 755 /usr/local/bin/tell-me /usr/local/bin/note
  configure
  inside tee -a "$CONFIG" >/dev/null <<'TOML'
[refresh]
refusals-before-pin = 1
[notify]
webhook = "http://127.0.0.1:9000/hook"
command = ["/usr/local/bin/note"]
TOML
  inside systemctl restart ecobee-tokend
  until_true 20 token
  told_of_a_pin_and_its_end 1
  local own
  own=$(inside id -u ecobee-tokend)
  expect "$(inside sed -n 's/^pin-waiting .* //p' /var/lib/ecobee-tokend/told)" "$own" "a setuid program, in the sandbox"

  inside mkdir -p /etc/systemd/system/ecobee-tokend.service.d
  inside cp /usr/share/doc/ecobee-tokend/examples/mailer.conf /etc/systemd/system/ecobee-tokend.service.d/
  inside systemctl daemon-reload
  inside systemctl restart ecobee-tokend
  until_true 20 token
  told_of_a_pin_and_its_end 2
  expect "$(inside sed -n 's/^pin-waiting .* //p' /var/lib/ecobee-tokend/told | tail -n 1)" 0 "a setuid program, with the drop-in"

  inside rm -r /etc/systemd/system/ecobee-tokend.service.d
  inside systemctl daemon-reload
  inside systemctl stop hook
  configure
  inside systemctl restart ecobee-tokend
  until_true 20 token
}

takes_an_encrypted_credential() {
  local before
  before=$(calls)
  inside mkdir -p -m 700 /etc/credstore.encrypted /etc/systemd/system/ecobee-tokend.service.d
  inside systemd-creds encrypt --name=home.key - /etc/credstore.encrypted/home.key <<<"$API_KEY"
  inside rm /etc/ecobee-tokend/home.key
  inside cp /usr/share/doc/ecobee-tokend/examples/credential.conf /etc/systemd/system/ecobee-tokend.service.d/
  configure "" 'api-key-credential = "home.key"'
  inside systemctl daemon-reload
  inside systemctl restart ecobee-tokend
  expect "$(inside grep -c "$API_KEY" /etc/credstore.encrypted/home.key || true)" 0 "the key in the clear"
  token
  expect "$(calls)" "$before" "calls to ecobee"
}

# The three commands as the drop-in has them, one a line.
commands_of_the_drop_in() { inside sed -n 's/^#   //p' /usr/share/doc/ecobee-tokend/examples/store-key.conf; }

encrypts_the_store() {
  local before held command said
  before=$(calls)
  held=$(token)
  inside grep -q "$held" /var/lib/ecobee-tokend/home.json
  configure "" 'api-key-credential = "home.key"'
  inside tee -a "$CONFIG" >/dev/null <<<$'[store]\nkey-credential = "store.key"'
  expect "$(commands_of_the_drop_in | wc -l)" 3 commands
  mark
  while read -r command <&3; do
    inside sh -ec "$command"
  done 3< <(commands_of_the_drop_in)
  is_running
  expect "$(token)" "$held" "the token after the restart"
  expect "$(calls)" "$before" "calls to ecobee"
  matches "$(ask alice /status)" '"pin": ?null'
  matches "$(said)" 'home.json: was not encrypted, and is now, with the key [0-9a-f]{16}'
  expect "$(inside grep -rlF -e "$held" -e refresh_token /var/lib/ecobee-tokend || true)" "" "files in the clear"
  inside grep -q '"version": 2' /var/lib/ecobee-tokend/home.json
  # A command beside the service, as man ecobee-tokend has it; it is lent the other credential of this story, too.
  said=$(inside systemd-run --quiet --pipe --wait -p User=ecobee-tokend -p LoadCredentialEncrypted=home.key \
    -p LoadCredentialEncrypted=store.key:/etc/ecobee-tokend/store.key.cred ecobee-tokend check-config 2>&1)
  matches "$said" "encrypted with the key [0-9a-f]{16} from systemd's credential store.key"
  # Without the key, which is a configuration's mistake, the service ends, and nothing is lost.
  configure "" 'api-key-credential = "home.key"'
  inside systemctl restart ecobee-tokend || true
  refused() { [ "$(service ExecMainStatus)" = 73 ]; }
  until_true 20 refused
  matches "$(inside systemctl status ecobee-tokend || true)" 'home.json: encrypted with the key [0-9a-f]{16}, and \[store\] names no key'
  inside tee -a "$CONFIG" >/dev/null <<<$'[store]\nkey-credential = "store.key"'
  inside systemctl restart ecobee-tokend
  expect "$(token)" "$held" "the token after the mistake was mended"
  expect "$(calls)" "$before" "calls to ecobee"
}

# Where the clock may not have been set since the boot, as on a board without one, a refresh comes first; never a PIN.
keeps_the_grant_through_a_reboot() {
  until_true 30 token
  is_running
  expect "$(pins_asked_for)" "$1" "PINs asked for"
  matches "$(ask alice /status)" '"pin": ?null'
}

keeps_state_when_removed() {
  inside apt-get remove -y ecobee-tokend
  inside test -s /var/lib/ecobee-tokend/home.json
  inside test -e "$CONFIG"
  inside test ! -e /usr/bin/ecobee-tokend
  expect "$(inside systemctl is-active ecobee-tokend.service ecobee-tokend.socket | sort -u)" inactive units
  inside apt-get install -y --no-install-recommends "/root/$1"
  is_running
  token
}

leaves_nothing_when_purged() {
  # What the administrator made goes the administrator's way.
  inside rm -r /etc/systemd/system/ecobee-tokend.service.d
  inside apt-get purge -y ecobee-tokend
  # /root has the packages that were installed from; the pages that `man` keeps formatted are man-db's.
  expect "$(inside find / -xdev ! -path '/root/*' ! -path '/var/cache/man/*' -name '*ecobee-token*')" "" files
  expect "$(inside find /run -name '*ecobee-token*' -print)" "" "files in /run"
  expect "$(inside systemctl list-unit-files --no-legend 'ecobee-token*')" "" units
  inside getent passwd ecobee-tokend
  inside getent group ecobee
}
