#!/usr/bin/env bash
# git: init, commit, repack, clone, fsck. It makes its temporary files itself; nothing may change. T8.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need git
export HOME=$scratch GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'

work() {
    git init -q -b main here
    for ((n = 0; n < 50; n++)); do
        echo "file $n" >"here/file-$n"
    done
    git -C here add .
    git -C here commit -q -m one
    git -C here checkout -q -b other
    echo changed >here/file-0
    git -C here commit -q -a -m two
    git -C here stash list
    git -C here gc -q --prune=now
    git -C here fsck --full --strict --no-progress
    git clone -q --no-local here there
    git -C there fsck --full --strict --no-progress
    git -C there log --format='%H %s'
    git -C there worktree add -q ../tree main
    git -C tree status --porcelain
    git bundle create -q here.bundle -h >/dev/null 2>&1 || true
    git -C here count-objects -v | grep -v size
    (cd there && find . -path ./.git -prune -o -type f -print | sort | xargs cat | git hash-object --stdin)
    rm -rf here there tree here.bundle
}
export -f work
same "git" bash -euc work
equal "what git ends with" 0 "$status"
grep -q two "$scratch/out" || fail "git shows no history: $(seen)"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
same "git under a supervisor" bash -euc work
finish
