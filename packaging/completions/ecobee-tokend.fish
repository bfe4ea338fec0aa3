# fish completion for ecobee-tokend

set -l commands check-config import test-notify forget
complete -c ecobee-tokend -f
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a check-config -d 'Exit 0, or 78 and the reason'
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a import -d 'Take over another client\'s grant'
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a test-notify -d 'Send a test by each way of [notify]'
complete -c ecobee-tokend -n '__fish_seen_subcommand_from import' -F
complete -c ecobee-tokend -l account -x -d 'Whose grant it becomes'
complete -c ecobee-tokend -n "not __fish_seen_subcommand_from $commands" -a forget -d 'Delete an account\'s stored grant'
complete -c ecobee-tokend -l config -rF -d 'The configuration'
complete -c ecobee-tokend -l log-format -x -a 'auto text json journal' -d 'How the log looks'
complete -c ecobee-tokend -s h -l help -d 'Show a summary'
complete -c ecobee-tokend -s V -l version -d 'Show the version'
