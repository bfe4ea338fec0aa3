# bash completion for ecobee-token

_ecobee_token() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --)
        # From here on it is another program's command line.
        if [[ $command == exec ]]; then
          _command_offset $((i + 1))
        fi
        return
        ;;
      exec | curl | rejected | refresh | authorize | pin | status) command=${COMP_WORDS[i]} ;;
    esac
  done
  case $before in
    --socket)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      compopt -o filenames
      return
      ;;
    --account | --min-ttl | --env) return ;;
    --wait) [[ $command == pin ]] || return ;;
  esac
  local common='--socket --account --help --version' words
  case $command in
    exec) words="--env --min-ttl --wait $common --" ;;
    curl) words="--min-ttl --wait $common --" ;;
    rejected | refresh) words="--min-ttl --wait --json --header $common" ;;
    authorize | pin) words="--wait --json $common" ;;
    status) words="--watch --json $common" ;;
    *) words="exec curl rejected refresh authorize pin status --min-ttl --wait --json --header $common" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _ecobee_token ecobee-token
