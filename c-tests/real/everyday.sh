#!/usr/bin/env bash
# Programs that have nothing to do with us: status, stdout and stderr must be those that they have without the library. D7,
# design 6.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
export HOME=$scratch

printf '#include <stdio.h>\nint main(void) { puts("hello, world"); return 0; }\n' >hello.c
mkdir tree
for ((n = 0; n < 200; n++)); do
    echo "$n" >"tree/file-$n"
done
ln -s file-1 tree/link

tried=0
try() { # COMMAND...: left out where it is not installed
    command -v "$1" >/dev/null || return 0
    tried=$((tried + 1))
    same "$*" "$@"
}
try ls -la tree
try find tree -type f -name '*1*'
try grep -r 11 tree
try sort -R --random-source=/dev/zero tree/file-1 tree/file-2
try sed -n 1p tree/file-3
try sed -i s/3/4/ tree/file-3
try awk '{ print $1 + 1 }' tree/file-4
try tar -cf - --sort=name tree
try tar -cf tree.tar tree
try tar -tf tree.tar
try sh -c 'mkdir out && tar -C out -xf tree.tar && diff -r tree out/tree && rm -r out'
try sh -c 'gzip -9 <tree.tar | gzip -d | cmp - tree.tar'
try sh -c 'xz -T2 <tree.tar | xz -d | cmp - tree.tar'
try sh -c 'cp -a tree copy && rm -r copy'
try sh -c 'dd if=tree.tar bs=1k count=10 status=none | cksum'
try rsync -a --dry-run tree/ other/
try gcc -O1 -o hello hello.c
try ./hello
try gcc -c -o nothing.o missing.c
try clang -O1 -o hello hello.c
try sh -c 'make --version | head -n 1'
try cargo --version
try rustc --version
try go version
try /usr/bin/python3 -c 'import ssl, sqlite3, json, multiprocessing; print(json.dumps({"a": [1, 2]}))'
try /usr/bin/python3 -c 'from multiprocessing import Pool
with Pool(4) as pool: print(sum(pool.map(abs, range(-100, 0))))'
try /usr/bin/python3 -c 'import sqlite3; c = sqlite3.connect("t.db"); c.execute("drop table if exists t"); c.execute("create table t(a)"); c.execute("insert into t values(1)"); c.commit(); print(c.execute("select * from t").fetchall())'
try perl -MPOSIX -e 'print POSIX::strftime("%Y", gmtime 0), "\n"'
try ruby -e 'puts [3, 1, 2].sort.inspect'
try node -e 'console.log([1, 2, 3].map((x) => x * 2)); setTimeout(() => console.log("later"), 10)'
try node -e 'const fs = require("fs"); const d = fs.mkdtempSync("./node-"); console.log(fs.existsSync(d)); fs.rmdirSync(d)'
try java -version
try php -v
try sqlite3 -version
try curl --version
try wget --version
try openssl version
try ssh -V
try gpg --version
try dpkg -l
try dpkg -L bash
try rpm --version
try man --version
try gdb --version
try gdb -batch -ex 'print 1+1'
try sh -c 'gdb -batch -ex run -ex bt ./hello | sed "s/process [0-9]*/process/"'
try strace -o /dev/null ./hello
try valgrind --quiet ./hello
try systemctl --version
try busybox ls tree
try less --version
try vim --version
try ps -o comm= -p 1
try id
try getent passwd root
try mount --version
try nice -n 1 true
try xfs_io -c 'pwrite -q 0 10' -f written
rm -rf hello.c hello tree tree.tar t.db written nohup.out
[ $tried -gt 20 ] || fail "only $tried programs were found: scripts/setup installs them"
assert_empty "after everyday programs"

# A program that is missing, one that is no program: the messages of exec stay.
same "no such program" sh -c ./missing
same "a directory as a program" sh -c .
# Standard descriptors closed: nothing of ours may take their place.
same "closed descriptors" sh -c 'ls /proc/self/fd <&- 2>&- | tr "\n" " "'
same "a full descriptor table" sh -c 'ulimit -n 4; cat /dev/null; echo $?'
finish
