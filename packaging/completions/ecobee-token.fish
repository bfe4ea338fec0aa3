# fish completion for ecobee-token

set -l commands exec curl rejected refresh authorize pin status
set -l no_command "not __fish_seen_subcommand_from $commands"
complete -c ecobee-token -f
complete -c ecobee-token -n $no_command -a exec -d 'Become a command, with the token in its environment'
complete -c ecobee-token -n $no_command -a curl -d 'Become curl, which sends the token along'
complete -c ecobee-token -n $no_command -a rejected -d 'Report the token on standard input as refused'
complete -c ecobee-token -n $no_command -a refresh -d 'Get a new token from ecobee now'
complete -c ecobee-token -n $no_command -a authorize -d 'Get a new PIN from ecobee now'
complete -c ecobee-token -n $no_command -a pin -d 'Show the PIN that waits to be entered'
complete -c ecobee-token -n $no_command -a status -d 'Show how the accounts are'
complete -c ecobee-token -l socket -rF -d 'The socket of the daemon'
complete -c ecobee-token -l account -x -d 'The account'
complete -c ecobee-token -l min-ttl -x -d 'Good for so long at least'
complete -c ecobee-token -n 'not __fish_seen_subcommand_from pin' -l wait -x -d 'Wait so long at most'
complete -c ecobee-token -n '__fish_seen_subcommand_from pin' -l wait -d 'Stay until there is a token'
complete -c ecobee-token -l json -d 'Print JSON'
complete -c ecobee-token -l header -d 'Print a header for curl -H @-'
complete -c ecobee-token -n '__fish_seen_subcommand_from exec' -l env -x -d 'The variable for the token'
complete -c ecobee-token -n '__fish_seen_subcommand_from status' -l watch -d 'Stay and show every change'
complete -c ecobee-token -s h -l help -d 'Show a summary'
complete -c ecobee-token -s V -l version -d 'Show the version'
