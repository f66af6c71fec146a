#!/usr/bin/env bash
# Shells, their traps, and the programs that change how a program meets signals: nohup, timeout, setsid, env. Everything as
# without the library, and a directory of mkdtemp's goes when it must. D2, D4, D7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need_python

same "bash, EXIT trap" bash -c 'trap "echo bye" EXIT; echo hello; exit 3'
same "bash, TERM trap" bash -c 'trap "echo caught; exit 4" TERM; kill -TERM $$; sleep 5'
same "bash, ignored TERM" bash -c 'trap "" TERM; kill -TERM $$; sh -c "kill -TERM \$\$; echo alive"'
same "bash, killed" bash -c 'exec 2>/dev/null; bash -c "kill -TERM \$\$"; echo $?; bash -c "kill -HUP \$\$"; echo $?; bash -c "kill -INT \$\$"; echo $?'
same "bash, job control" bash -mc 'sleep 10 & kill %1; wait %1; echo $?; true & wait $!; echo $?; sleep 0.1 & fg >/dev/null; echo $?'
same "bash, pipeline" bash -o pipefail -c 'yes | head -n 1; echo "${PIPESTATUS[*]}"'
same "bash, trap -p" bash -c 'trap "echo x" INT TERM; trap -p; trap - INT; trap -p'
same "bash, here-document and process substitution" bash -c 'cat <<<"text"; diff <(echo a) <(echo b)'
same "sh, traps" sh -c 'sh -c "trap \"echo caught\" USR1; kill -USR1 \$\$; trap - USR1; kill -USR1 \$\$; echo not reached"; echo $?'
same "sh, wait for nobody" sh -c 'wait; echo $?; wait 999999; echo $?'
same "timeout, in time" timeout 5 sh -c 'exit 3'
same "timeout, too late" timeout 0.1 sleep 5
same "timeout, killed" sh -c 'timeout -s KILL 0.1 sleep 5; echo $?'
same "timeout, caught" timeout --foreground 1 bash -c 'trap "echo caught; exit 9" TERM; while :; do sleep 0.05; done'
same "nohup" nohup sh -c 'kill -HUP $$; echo alive'
same "setsid" setsid -w sh -c 'exit 5'
same "env, ignored signals" env --ignore-signal=TERM,HUP sh -c 'kill -TERM $$; kill -HUP $$; echo alive'
same "signals as /proc shows them" sh -c 'grep -E "^Sig(Ign|Cgt|Blk)" /proc/self/status'
same "signals in bash as /proc shows them" bash -c 'trap : USR2; while read -r line; do case $line in Sig[ICB]*) echo "$line" ;; esac; done </proc/self/status'
same "descriptors" sh -c 'ls /proc/self/fd'
same "threads and children" sh -c 'ls /proc/self/task | wc -l; ps -o stat= --ppid $$ | wc -l'
same "environment" env -u LD_PRELOAD -u _ env
same "script in a pipe" sh -c 'echo "echo from a pipe" | sh -s'
same "xargs" sh -c 'seq 20 | xargs -n 1 -P 4 true; echo $?; echo x | xargs sh -c "kill -TERM \$\$"; echo $?'
assert_empty "after the shells"

cat >"$scratch/mkdtemp.py" <<'PYTHON'
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None)
libc.mkdtemp.restype = ctypes.c_char_p
made = libc.mkdtemp(ctypes.create_string_buffer(b"made.XXXXXX")).decode()
open(made + "/file", "w").close()
if "hup" in sys.argv:
    # Ignored when it started, ignored still: nothing of ours may sit there.
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGHUP)
    assert os.path.exists(made + "/file")
print(made, flush=True)
while "sleep" in sys.argv:
    time.sleep(1)
PYTHON
equal "nohup, mkdtemp, TERM" "signal 15" "$(end_of TERM nohup "$python" "$scratch/mkdtemp.py" hup sleep 2>/dev/null)"
assert_empty "after nohup, mkdtemp, TERM"
# Nothing happens at HUP; it lives until TERM comes.
LIBRARY=$library perl -e '
    my $pid = open(my $out, "-|") // die;
    if (!$pid) { $SIG{HUP} = "IGNORE"; $ENV{LD_PRELOAD} = delete $ENV{LIBRARY}; exec(@ARGV) or die }
    my $made = <$out>;
    chomp $made;
    kill HUP => $pid;
    select(undef, undef, undef, 0.2);
    die "removed at an ignored signal\n" unless -e "$made/file";
    die "ended by an ignored signal\n" if waitpid($pid, 1);
    kill TERM => $pid;
    waitpid($pid, 0);
    die "ended with $?\n" unless $? == 15;
' "$python" "$scratch/mkdtemp.py" sleep || fail "a program that ignores SIGHUP"
assert_empty "after an ignored SIGHUP"

run with timeout 0.7 "$python" "$scratch/mkdtemp.py" sleep
equal "timeout, mkdtemp: its status" 124 "$status"
assert_empty "after timeout, mkdtemp"
succeeds "setsid, mkdtemp" with setsid -w "$python" "$scratch/mkdtemp.py"
assert_empty "after setsid, mkdtemp"
succeeds "a shell that starts a program with mkdtemp" with bash -c '"$@"; test -z "$(ls)"' bash "$python" "$scratch/mkdtemp.py"
assert_empty "after a shell that starts a program with mkdtemp"
# exec keeps the process, and the directory goes when the program that it became ends.
succeeds "a shell that becomes a program with mkdtemp" with bash -c 'exec "$@"' bash "$python" "$scratch/mkdtemp.py"
assert_empty "after a shell that became a program with mkdtemp"
finish
