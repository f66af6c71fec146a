#!/usr/bin/env bash
# Other libraries that interpose libc, before and after ours in LD_PRELOAD: jemalloc, whose start-up calls open, eatmydata,
# which interposes open, and libfaketime, which interposes stat and calls dlsym. T8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need perl
need_python

cat >"$scratch/tmpfile.py" <<'PYTHON'
import ctypes, os, threading, time
def one():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"x" * 100000)
    os.fsync(fd)
    assert os.fstat(fd).st_size == 100000
    os.close(fd)
threads = [threading.Thread(target=one) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
if not os.fork():
    one()
    os._exit(0)
assert os.wait()[1] == 0
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(fd, b"text")
os.link(f"/proc/self/fd/{fd}", "published", src_dir_fd=os.open("/", os.O_RDONLY), follow_symlinks=True)
os.write(fd, b" and more")
assert open("published").read() == "text and more"
os.unlink("published")
libc = ctypes.CDLL(None)
libc.mkdtemp.restype = ctypes.c_char_p
made = libc.mkdtemp(ctypes.create_string_buffer(b"made.XXXXXX"))
open(os.path.join(made.decode(), "file"), "w").close()
maps = open("/proc/self/maps").read()
for name in os.environ["LOADED"].split(":"):
    assert os.path.basename(name) in maps, f"{name} is not loaded"
print(made.decode(), time.strftime("%Y") if "FAKETIME" in os.environ else "fine")
PYTHON

tested=
chain() { # NAME EXPECTED LIBRARY [VARIABLE=VALUE...]
    local name=$1 expected=$2 other=$3 order made
    shift 3
    if [ -z "$other" ]; then
        echo "no $name here" >&2
        return 0
    fi
    other=$(readlink -f "$other")
    for order in "$library:$other" "$other:$library"; do
        succeeds "LD_PRELOAD=$order" env "$@" LOADED="$order" LD_PRELOAD="$order" "$python" "$scratch/tmpfile.py"
        equal "stderr of LD_PRELOAD=$order" "" "$(cat "$scratch/err")"
        made=$(cut -d ' ' -f 1 "$scratch/out")
        equal "LD_PRELOAD=$order" "$expected" "$(cut -d ' ' -f 2 "$scratch/out")"
        gone "$made" "the directory of mkdtemp under LD_PRELOAD=$order"
        assert_empty "after LD_PRELOAD=$order"
    done
    run env "$@" LOADED="$other" LD_PRELOAD="$other" "$python" "$scratch/tmpfile.py"
    if [ $native = no ] && { [ "$status" = 0 ] || ! grep -q 'Operation not supported' "$scratch/err"; }; then
        fail "without our library O_TMPFILE must fail under $name: $(seen)"
    fi
    rm -rf made.*
    tested="$tested $name"
}
library_of() { # SONAME
    find /usr/lib /lib -name "$1" 2>/dev/null | head -n 1
}
chain jemalloc fine "$(library_of libjemalloc.so.2)"
chain eatmydata fine "$(library_of libeatmydata.so)"
chain libfaketime 2001 "$(library_of libfaketime.so.1)" FAKETIME='@2001-02-03 04:05:06'
chain libfaketimeMT 2001 "$(library_of libfaketimeMT.so.1)" FAKETIME='@2001-02-03 04:05:06'
[ -n "$tested" ] || skip "neither jemalloc, eatmydata nor libfaketime is installed"
# Three at once, ours in the middle. (jemalloc and libfaketime together deadlock by themselves.)
for around in "libjemalloc.so.2 libeatmydata.so" "libeatmydata.so libfaketime.so.1"; do
    first=$(library_of "${around% *}") last=$(library_of "${around#* }")
    if [ -z "$first" ] || [ -z "$last" ]; then
        continue
    fi
    succeeds "LD_PRELOAD=$first:$library:$last" env LOADED="$library" FAKETIME='@2001-02-03 04:05:06' \
        LD_PRELOAD="$first:$library:$last" "$python" "$scratch/tmpfile.py"
    equal "stderr of LD_PRELOAD=$first:$library:$last" "" "$(cat "$scratch/err")"
done
finish
