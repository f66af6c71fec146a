# Behind `run --` come the words of another program, which are completed as if nothing stood before them.
function __fish_tmpshim_program
    set -l words (commandline -opc)
    set -l place (contains -i -- -- $words)
    complete -C (string join ' ' -- (string escape -- $words[(math $place + 1)..]) (commandline -ct))
end
complete -c tmpshim -n "__fish_seen_subcommand_from run; and contains -- -- (commandline -opc)" -f -a "(__fish_tmpshim_program)"
