# fish completion for ecobee-tokend

set -l commands check-config forget
complete -c ecobee-tokend -f
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a check-config -d 'Exit 0, or 78 and the reason'
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a forget -d 'Delete an account\'s stored grant'
complete -c ecobee-tokend -l config -rF -d 'The configuration'
complete -c ecobee-tokend -l log-format -x -a 'auto text json journal' -d 'How the log looks'
complete -c ecobee-tokend -s h -l help -d 'Show a summary'
complete -c ecobee-tokend -s V -l version -d 'Show the version'
