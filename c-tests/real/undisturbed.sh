#!/usr/bin/env bash
# Go programs that can do without O_TMPFILE, or make their temporary files otherwise, under a supervisor: same output, same
# status, same files. restic makes and unlinks its own; the Go compiler and linker are many processes with many threads. S1, S3.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need restic go
export TMPDIR=$directory/tmp HOME=$scratch

tree() {
    mkdir -p "$1/below/deep"
    for ((n = 0; n < 60; n++)); do
        head -c $((n * n * 40)) /dev/zero | tr '\0' "\\$((n % 8))" >"$1/below/file-$n"
    done
    head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >"$1/below/deep/noise"
    ln -s below/file-1 "$1/link"
    chmod 640 "$1/below/file-2"
}

back_up() {
    export RESTIC_REPOSITORY=$PWD/repository RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$PWD/cache
    mkdir tmp
    tree source
    restic -q init
    restic -q backup source
    restic -q check --read-data
    restic -q restore latest --target restored
    diff -r source restored/source
    (cd restored/source && find . -printf '%y %m %s %p\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    # No such repository: it fails, and says so.
    restic -r nothing snapshots 2>&1 || echo "status $?"
    find repository/snapshots repository/keys repository/locks -type f | wc -l
    ls -A tmp
    rm -rf repository source restored cache tmp
}

go_build() {
    mkdir -p tmp cache module/part
    export GOTMPDIR=$PWD/tmp GOCACHE=$PWD/cache GOPATH=$PWD/path GO111MODULE=on CGO_ENABLED=0 GOTELEMETRY=off
    cd module
    printf 'module example.org/module\n\ngo 1.19\n' >go.mod
    printf 'package part\n\nimport "strings"\n\nfunc Part(s string) string { return strings.ToUpper(s) }\n' >part/part.go
    printf 'package part\n\nimport ("os"; "testing")\n\nfunc TestPart(t *testing.T) {\n\tf, err := os.CreateTemp(t.TempDir(), "x")\n\tif err != nil || Part("a") != "A" {\n\t\tt.Fatal(err)\n\t}\n\tf.Close()\n}\n' >part/part_test.go
    printf 'package main\n\nimport ("fmt"; "example.org/module/part")\n\nfunc main() { fmt.Println(part.Part("built")) }\n' >main.go
    go build -o program .
    ./program
    sha256sum program
    go test -count=1 ./... | sed -E 's/[0-9.]+s$//'
    printf 'package main\n\nfunc main() { undefined() }\n' >main.go
    go build -o program . 2>&1 || echo "status $?"
    cd ..
    ls -A tmp
    chmod -R u+w path 2>/dev/null || true
    rm -rf module tmp cache path
}
export -f tree back_up go_build

same "restic" bash -euc back_up
equal "what restic ends with; $(seen)" 0 "$status"
grep -q '^f 640 160 ./below/file-2' "$scratch/out" || fail "restic has restored nothing: $(seen)"
same "go build" bash -euc go_build
equal "what go build ends with; $(seen)" 0 "$status"
grep -qx BUILT "$scratch/out" || fail "go has built nothing: $(seen)"
finish
