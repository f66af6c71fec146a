# For the tests: defines `ask LINE WORD...`, which types a line and a tabulator into a real zsh on a terminal, and prints the
# words once they have been seen in what it shows. COMPLETIONS, DIRECTORY: where the script to be tested lies.
zmodload zsh/zpty
zpty tested zsh -f -i
zpty -w tested 'fpath=(DIRECTORY $fpath); autoload -Uz compinit; compinit -D -u; LISTMAX=1000'
zpty -w tested 'unsetopt beep list_ambiguous; unset zle_bracketed_paste; PROMPT=re""ady'
zpty -r -m tested seen '*ready*' || exit 1

ask() {
    local shown= seen word
    zpty -w -n tested "$1"$'\t'
    for word in ${@:2}; do
        # A letter at a time: what is read beyond a match would be lost.
        until [[ $shown == *[[:space:]]${(b)word}[[:space:]=]* ]]; do
            zpty -r tested seen '?' || exit 1
            shown+=$seen
        done
        print -r -- $word
    done
    # Takes the line away and waits for the next prompt.
    zpty -w tested $'\x15print do""ne'
    zpty -r -m tested seen '*done*ready*' || exit 1
    print .
}
