#!/usr/bin/env bash
# What traces programs itself, below a tracer of ours: strace -f and gdb get the process that they ask for, and work as they do
# without. And above one: under strace -f, tmpshim says in one line that it cannot trace. S4, S5.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need gcc strace gdb
cat >"$scratch/debugged.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int opened(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : errno;
}

static void *in_a_thread(void *unused)
{
    return unused;
}

// Says what became of an open: in this process, and in a child; a thread is there, too. Ends with the status it is told.
int main(int argc, char **argv)
{
    pthread_t thread;
    int status;
    if (argc != 3 || pthread_create(&thread, NULL, in_a_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 99;
    printf("here: %s\n", strerror(opened(argv[1])));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(opened(argv[1]));
    if (waitpid(child, &status, 0) != child)
        return 98;
    printf("child: %s\n", strerror(WEXITSTATUS(status)));
    return atoi(argv[2]);
}
C
build_c "$scratch/debugged" "$scratch/debugged.c" -g -pthread
build_c "$scratch/debugged-static" "$scratch/debugged.c" -g -pthread -static

succeeds "the program without a debugger" with "$scratch/debugged-static" "$directory" 0
equal "its opens" "here: Success child: Success" "$(tr '\n' ' ' <"$scratch/out" | sed 's/ $//')"

# Where a debugger has a process, our filter's calls are answered by nobody.
expected=$([ $native = yes ] && echo "Success|Function not implemented" || echo "Function not implemented")
for program in debugged debugged-static; do
    run with strace -f -o "$scratch/strace" "$scratch/$program" "$directory" 7
    equal "$program under strace: status; $(seen)" 7 "$status"
    grep -qE "^here: ($expected)$" "$scratch/out" || fail "$program under strace: $(seen)"
    grep -qE "^child: ($expected)$" "$scratch/out" || fail "$program under strace, its child: $(seen)"
    grep -qE 'openat\(AT_FDCWD, "[^"]*", O_RDWR\|O_TMPFILE, 0600\)' "$scratch/strace" || fail "strace has not seen the open of $program"
    grep -q '+++ exited with 7 +++' "$scratch/strace" || fail "strace has not seen the end of $program"

    run with gdb -q -batch -ex 'break opened' -ex run -ex 'print directory' -ex continue --args "$scratch/$program" "$directory" 7
    grep -q "Breakpoint 1, opened" "$scratch/out" || fail "gdb has not stopped $program: $(seen)"
    grep -qF "$directory\"" "$scratch/out" || fail "gdb has not read the memory of $program: $(seen)"
    grep -qE "exited with code 07" "$scratch/out" || fail "gdb has not seen the end of $program: $(seen)"
done

# One that is running already.
cat >"$scratch/attach" <<'SH'
exec 9<>"$1"
head -n 1 <&9 &
program=$!
strace -qq -o "$2" -p $program &
tracer=$!
until grep -qE "^TracerPid:[[:space:]]$tracer$" /proc/$program/status; do
    kill -0 $tracer || exit
    sleep 0.02
done
echo "some text" >&9
wait $program
SH
mkfifo "$scratch/gate"
succeeds "strace -p" with sh "$scratch/attach" "$scratch/gate" "$scratch/attached"
equal "what is written by one that strace has attached to" "some text" "$(cat "$scratch/out")"
grep -qE 'read\(0, "some text\\n"' "$scratch/attached" || fail "strace -p has not seen what it was to see: $(cat "$scratch/attached")"

# Not LeakSanitizer, which hides from other tracers (CLONE_UNTRACED), so that ours does not hear what it asks for: it says so.
printf 'int main(void) { char *volatile lost = __builtin_malloc(7); lost = 0; return lost != 0; }\n' >"$scratch/leak.c"
if gcc -g -fsanitize=leak -o "$scratch/leak" "$scratch/leak.c" 2>/dev/null; then
    run without "$scratch/leak"
    grep -q "7 byte(s) leaked" "$scratch/err" || fail "LeakSanitizer finds nothing: $(seen)"
    run with "$scratch/leak"
    grep -q "LeakSanitizer does not work under ptrace" "$scratch/err" || fail "LeakSanitizer under a tracer: $(seen)"
    succeeds "what has no leaks looked for" with env LSAN_OPTIONS=detect_leaks=0 "$scratch/leak"
fi

# Others that trace all of it.
run strace -f -o /dev/null "$tmpshim" run "${run_options[@]}" -- "$scratch/debugged-static" "$directory" 7
equal "under strace: status; $(seen)" 125 "$status"
equal "under strace: lines; $(seen)" 1 "$(wc -l <"$scratch/err")"
finish
