#!/usr/bin/env bash
# ssh-agent: makes its directory with mkdtemp, forks, and the parent exits while the child serves. The directory is the
# child's, and it removes it itself. D3, D7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need ssh-agent ssh-add
# Installed set-group-id, and so out of LD_PRELOAD's reach: a copy is an ordinary program.
cp "$(command -v ssh-agent)" "$scratch/ssh-agent"
chmod 755 "$scratch/ssh-agent"
export TMPDIR=$directory

for how in without with; do
    succeeds "ssh-agent $how the library" $how "$scratch/ssh-agent" -s
    # shellcheck disable=SC1091 # what ssh-agent says is a script
    eval "$(grep -v '^echo' "$scratch/out")"
    children+=("$SSH_AGENT_PID")
    [ -S "$SSH_AUTH_SOCK" ] || fail "the socket of a living ssh-agent started $how the library must stay, $SSH_AUTH_SOCK is gone"
    run without ssh-add -l
    grep -q 'no identities' "$scratch/out" || fail "ssh-agent started $how the library does not answer: $(seen)"
    kill "$SSH_AGENT_PID"
    agent_gone() { ! kill -0 "$SSH_AGENT_PID" 2>/dev/null; }
    until_true 10 "ssh-agent has ended" agent_gone
    assert_empty "after ssh-agent $how the library"
done
unset SSH_AUTH_SOCK SSH_AGENT_PID

# With a command: the agent is the child, and the parent, which made the directory, becomes the command.
same "ssh-agent with a command" "$scratch/ssh-agent" sh -c 'test -S "$SSH_AUTH_SOCK" && echo there
    # It answers only once it has its handlers.
    ssh-add -l
    kill "$SSH_AGENT_PID"
    for i in $(seq 500); do test -e "$SSH_AUTH_SOCK" || break; sleep 0.02; done
    exit 6'
equal "status of the command under ssh-agent" 6 "$status"
assert_empty "after ssh-agent with a command"
finish
