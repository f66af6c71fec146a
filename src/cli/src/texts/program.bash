# Behind `run --` come the words of another program, which are completed as if nothing stood before them.
_tmpshim_program() {
    local place
    if [[ ${COMP_WORDS[1]} == run ]]; then
        for ((place = 2; place < COMP_CWORD; place++)); do
            if [[ ${COMP_WORDS[place]} == -- ]]; then
                if declare -F _command_offset >/dev/null; then
                    _command_offset $((place + 1))
                elif ((COMP_CWORD == place + 1)); then
                    mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
                fi
                return
            fi
        done
    fi
    _tmpshim "$@"
}
complete -F _tmpshim_program -o bashdefault -o default tmpshim
