#!/usr/bin/env bash
# python3: os.open with O_TMPFILE, os.link of /proc/self/fd, tempfile with its own fallback, libc's mkdtemp through ctypes
# ended in every way python can end. T1, T3, T7, D1, D2, D4, D7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need_python

cat >"$scratch/tmpfile.py" <<'PYTHON'
import os
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
PYTHON
control "python's os.open with O_TMPFILE" "$python" "$scratch/tmpfile.py"

cat >>"$scratch/tmpfile.py" <<'PYTHON'
import array, errno, fcntl, mmap, socket, stat, sys, threading, time
flags = os.O_TMPFILE | os.O_RDWR
def refused(number, call):
    try:
        call()
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError("not refused")

os.write(fd, b"x" * 5000)
assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC, "os.open asks for O_CLOEXEC"
assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
with mmap.mmap(fd, 5000) as map:
    map[0:4] = b"mmap"
    map.flush()
assert os.pread(fd, 5, 0) == b"mmapx"
os.truncate(fd, 3)
assert os.fstat(fd).st_size == 3

# Passed on by SCM_RIGHTS, used and re-opened by the receiver.
ours, theirs = socket.socketpair()
child = os.fork()
if not child:
    _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
    received = array.array("i", ancillary[0][2])[0]
    again = os.open(f"/proc/self/fd/{received}", os.O_RDWR)
    os.pwrite(again, b"child", 0)
    os._exit(0)
ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
assert os.waitpid(child, 0)[1] == 0
assert os.pread(fd, 100, 0) == b"child"

# dir_fd: openat on a descriptor, the path relative to it.
os.mkdir("sub")
sub = os.open("sub", os.O_RDONLY | os.O_DIRECTORY)
there = os.open(".", flags, 0o600, dir_fd=sub)
assert os.fstat(there).st_size == 0
os.close(there)
if os.environ["NAMES_STAY"]:
    # A hidden name goes when the next file is made, if not before.
    os.close(os.open(".", flags, 0o600))
os.rmdir("sub")

refused(errno.EINVAL, lambda: os.open(".", os.O_TMPFILE | os.O_RDONLY, 0o600))
refused(errno.ENOENT, lambda: os.open("nothing", flags, 0o600))
refused(errno.ENOENT, lambda: os.open("", flags, 0o600))
refused(errno.ENAMETOOLONG, lambda: os.open("x" * 5000, flags, 0o600))
# fuse-overlayfs says ENOENT to a name that is too long for what lies below it.
try:
    os.open("x" * 256, os.O_RDONLY | os.O_DIRECTORY)
except OSError as error:
    refused(error.errno, lambda: os.open("x" * 256, flags, 0o600))

# Published from another directory, with a name that is relative, and with extended attributes where there are any.
os.mkdir("sub")
umask = os.umask(0o077)
file = os.open("sub", flags, 0o644)
os.umask(umask)
os.write(file, b"text")
attribute = True
try:
    os.setxattr(file, "user.tmpshim", b"kept")
except OSError:
    attribute = False
# The last word on the mode is the program's: ostree's way.
os.fchmod(file, 0o604)
os.utime(file, ns=(10**18, 10**18 + 5000))
# Without a dir_fd python calls link(2), which follows nothing.
root = os.open("/", os.O_RDONLY)
os.link(f"/proc/self/fd/{file}", "published", src_dir_fd=root, follow_symlinks=True)
st = os.stat("published")
assert stat.S_IMODE(st.st_mode) == 0o604, oct(st.st_mode)
assert st.st_size == 4, st
# FUSE may show for a second how many links there were when the last one was made.
deadline = time.monotonic() + 5
while os.stat("published").st_nlink != 1:
    assert time.monotonic() < deadline, os.stat("published")
    time.sleep(0.05)
assert stat.S_IMODE(os.stat("published").st_mode) == 0o604, os.stat("published")
assert st.st_mtime_ns // 1000 == (10**18 + 5000) // 1000, st.st_mtime_ns
assert not attribute or os.getxattr("published", "user.tmpshim") == b"kept"
assert os.fstat(file).st_ino == st.st_ino, "the descriptor refers to another file than the one published"
assert os.lseek(file, 0, os.SEEK_CUR) == 4, "the offset moved"
os.write(file, b" and more")
os.close(file)
# mergerfs and bindfs may show the old size for a second, to a stat; an open shows what is there.
with open("published", "rb") as published:
    assert published.read() == b"text and more"
os.unlink("published")
os.rmdir("sub")

# A file that is deleted stays deleted.
victim = os.open("victim", os.O_CREAT | os.O_RDWR)
os.unlink("victim")
refused(errno.ENOENT, lambda: os.link(f"/proc/self/fd/{victim}", "back", src_dir_fd=root, follow_symlinks=True))
os.close(victim)

# Eight threads, a hundred files each.
problems = []
def storm(number):
    try:
        for round in range(100):
            file = os.open(".", flags, 0o600)
            text = b"%d %d" % (number, round)
            os.write(file, text)
            assert os.pread(file, 100, 0) == text
            os.close(file)
    except BaseException as error:
        problems.append(error)
threads = [threading.Thread(target=storm, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not problems, problems
print("fine")
PYTHON
succeeds "python with O_TMPFILE" with "$python" "$scratch/tmpfile.py"
equal "what python says" fine "$(cat "$scratch/out" "$scratch/err")"
assert_empty "after python with O_TMPFILE"

# tempfile falls back by itself; TemporaryFile keeps a memory of EISDIR, so that we must not disturb it.
tempfiles() {
    "$python" -c '
import os, tempfile
tempfile.tempdir = "."
with tempfile.TemporaryFile() as f:
    f.write(b"abc"); f.seek(0); assert f.read() == b"abc"
    assert os.listdir(".") == [] or os.listdir(".")[0].startswith((".fuse_hidden", ".tmpshim-")), os.listdir(".")
with tempfile.NamedTemporaryFile() as f:
    f.write(b"abc"); f.flush(); assert os.stat(f.name).st_size == 3
with tempfile.SpooledTemporaryFile(max_size=2) as f:
    f.write(b"abcdef"); f.seek(0); assert f.read() == b"abcdef"
with tempfile.TemporaryDirectory() as d:
    open(os.path.join(d, "file"), "w").close()
print("fine")'
}
if [ "$filesystem" = bindfs-hard_remove ]; then
    # An unlinked file cannot be used there, so python's own way fails, and O_TMPFILE of ours does not.
    succeeds "python's tempfile" with tempfiles
else
    same "python's tempfile" tempfiles
fi
assert_empty "after python's tempfile"

# mkdtemp of tempfile is a mkdir: not tracked.
with "$python" -c 'import tempfile; print(tempfile.mkdtemp(dir="."))' >"$scratch/name"
exists "$(cat "$scratch/name")" "the directory of python's tempfile.mkdtemp"
rmdir "$(cat "$scratch/name")"

cat >"$scratch/mkdtemp.py" <<'PYTHON'
import ctypes, os, signal, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mkdtemp.restype = ctypes.c_char_p
descriptors = os.listdir("/proc/self/fd")
buffer = ctypes.create_string_buffer(b"made.XXXXXX")
made = libc.mkdtemp(buffer)
assert made is not None and made.startswith(b"made."), made
assert os.stat(made).st_mode & 0o7777 == 0o700
os.makedirs(os.path.join(made, b"a/b"))
open(os.path.join(made, b"a/b/file"), "w").close()
os.symlink("/etc/passwd", os.path.join(made, b"a/link"))
os.chdir("/")
how = sys.argv[1]
def ready():
    sys.stdout.write(made.decode() + "\n")
    sys.stdout.flush()
# What python and the kernel know of the signals: nothing of ours may show.
if how == "handlers":
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
        assert signal.getsignal(number) == signal.SIG_DFL, number
    assert signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)) == signal.SIG_DFL
    ready()
    while True:
        time.sleep(1)
elif how == "back":
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    ready()
    while True:
        time.sleep(1)
elif how == "sleep":
    ready()
    while True:
        time.sleep(1)
elif how == "threads":
    for _ in range(4):
        threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
    ready()
    while True:
        time.sleep(1)
elif how == "child":
    # A child that ends first, in both ways, has no say (D3), and wait knows only it (D7).
    for leave in (lambda: os._exit(3), lambda: sys.exit(3)):
        child = os.fork()
        if not child:
            leave()
        assert os.wait() == (child, 3 << 8)
        assert os.path.isdir(os.path.join(sys.argv[2], made.decode(), "a/b")), "a child removed it"
    assert subprocess.run(["true"]).returncode == 0
    assert os.path.isdir(os.path.join(sys.argv[2], made.decode(), "a/b")), "a started program removed it"
    try:
        os.wait()
        raise AssertionError("a child that python did not start")
    except ChildProcessError:
        pass
    ready()
elif how == "removed":
    import shutil
    shutil.rmtree(os.path.join(sys.argv[2], made.decode()))
    # Somebody else's directory with the same name is not ours to remove.
    os.mkdir(os.path.join(sys.argv[2], made.decode()))
    open(os.path.join(sys.argv[2], made.decode(), "precious"), "w").close()
    ready()
elif how == "return":
    ready()
elif how == "status":
    ready()
    sys.exit(9)
elif how == "_exit":
    ready()
    os._exit(5)
elif how == "abort":
    ready()
    os.abort()
elif how == "raise":
    ready()
    raise RuntimeError("an uncaught exception")
elif how == "segv":
    ready()
    ctypes.string_at(0)
elif how == "descriptors":
    assert os.listdir("/proc/self/fd") == descriptors, "a descriptor is held open"
    assert os.listdir("/proc/self/task") == [str(os.getpid())]
    ready()
PYTHON

ends() { # HOW SIGNAL EXPECTED
    equal "mkdtemp, $1, $2: how it ends" "$3" "$(cd "$directory" && end_of "$2" "$python" "$scratch/mkdtemp.py" "$1" "$directory" 2>"$scratch/err")"
    grep -q '^made\.' "$scratch/first" || fail "mkdtemp, $1, $2: $(cat "$scratch/err")"
}
ulimit -c 0
for how in "return none|exit 0" "status none|exit 9" "_exit none|exit 5" "abort none|signal 6" "raise none|exit 1" \
    "segv none|signal 11" "descriptors none|exit 0" "child none|exit 0" \
    "sleep TERM|signal 15" "sleep HUP|signal 1" "sleep INT|signal 2" "sleep QUIT|signal 3" "sleep USR1|signal 10" \
    "sleep ALRM|signal 14" "threads TERM|signal 15" "threads INT|signal 2" "handlers TERM|exit 7" \
    "handlers HUP|signal 1" "back TERM|signal 15"; do
    read -r what signal <<<"${how%|*}"
    ends "$what" "$signal" "${how#*|}"
    assert_empty "after mkdtemp, $what, $signal"
done
ends removed none "exit 0"
# The filesystem below may give it the same inode number, and FUSE has no birth times.
exists "$(cat "$scratch/first")/precious" "a file in what replaced the directory"
rm -r "$(cat "$scratch/first")"

# The settings, in short.
TMPSHIM_CLEANUP=off ends sleep TERM "signal 15"
exists "$(cat "$scratch/first")/a/b/file" "a directory under TMPSHIM_CLEANUP=off"
rm -r made.*
TMPSHIM_CLEANUP=failed ends return none "exit 0"
exists "$(cat "$scratch/first")/a/b/file" "the directory of a success under TMPSHIM_CLEANUP=failed"
rm -r made.*
TMPSHIM=off ends return none "exit 0"
exists "$(cat "$scratch/first")/a/b/file" "a directory under TMPSHIM=off"
rm -r made.*
TMPSHIM_SKIP_PROGRAMS="$(basename "$(realpath "$python")"):python3" ends return none "exit 0"
exists "$(cat "$scratch/first")/a/b/file" "a directory under TMPSHIM_SKIP_PROGRAMS"
rm -r made.*
finish
