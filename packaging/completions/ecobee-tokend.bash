# bash completion for ecobee-tokend

_ecobee_tokend() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  case $before in
    --config)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      compopt -o filenames
      return
      ;;
    --account)
      return
      ;;
    import)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      compopt -o filenames
      return
      ;;
    --log-format)
      mapfile -t COMPREPLY < <(compgen -W 'auto text json journal' -- "$word")
      return
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W 'check-config import test-notify forget --account --config --log-format --help --version' -- "$word")
}
complete -F _ecobee_tokend ecobee-tokend
