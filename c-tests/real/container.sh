#!/usr/bin/env bash
# A real container by runc, with the seccomp profile that podman gives to all of them: user 65534 without capabilities, a
# read-only root, no cgroup filesystem, /tmp on the filesystem under test, and tmpshim as PID 1. S4, S7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need_root "runc makes containers, as root"
need runc go gcc
need_python
[ "$(uname -m)" = x86_64 ] || skip "container.py knows the profile's rules for x86-64 only"
profile=/usr/share/containers/seccomp.json
[ -r $profile ] || skip "no $profile (scripts/setup installs golang-github-containers-common)"
beside=$(dirname -- "$(realpath -- "$0")")

bundle=$scratch/bundle
runs=$scratch/runc
name=tmpshim-test-$$
root=$bundle/root
mkdir -p "$root"/{proc,dev,sys,tmp}
install -m 755 "$tmpshim" "$root/tmpshim"
build_go 0 "$root/clair" "$beside/clair.go"
build_c "$root/container" "$beside/container.c" -static
# One that libraries reach, with all that it needs.
build_c "$root/dynamic" "$beside/container.c"
ldd "$root/dynamic" | grep -oE '/[^ ]+' | while read -r file; do
    mkdir -p "$root$(dirname "$file")"
    cp "$file" "$root$file"
done

# configure ARGUMENT...: what the container is to run.
configure() {
    "$python" "$beside/container.py" $profile "$no_new_privileges" "$directory" "$@" >"$bundle/config.json"
}
contain() {
    printf '\n\n' | runc --root "$runs" run --bundle "$bundle" "$name"
}
in_container() { # ARGUMENT...
    configure "$@"
    contain
}
under_tmpshim() { # ARGUMENT...
    in_container /tmpshim run "${run_options[@]}" -- "$@"
}
gives() { # STATUS WHAT ARGUMENT...
    local expected=$1 what=$2
    shift 2
    run under_tmpshim "$@"
    equal "$what, noNewPrivileges $no_new_privileges; $(seen)" "$expected" "$status"
    assert_empty "after $what"
}

no_new_privileges=false
run in_container /container exit 0
[ "$status" = 0 ] || skip "runc makes no containers here: $(seen)"

# ended_by SIGNAL PROGRAM...: how the container ends, once it has said that it is ready.
ended_by() {
    local signal=$1
    shift
    configure /tmpshim run "${run_options[@]}" -- "$@"
    : >"$scratch/said"
    runc --root "$runs" run --bundle "$bundle" "$name" </dev/null >"$scratch/said" 2>"$scratch/err" &
    children=($!)
    until_true 20 "the container is ready: $(cat "$scratch/err")" grep -q ready "$scratch/said"
    runc --root "$runs" kill "$name" "$signal" || fail "runc kill"
    status=0
    wait "${children[0]}" || status=$?
    children=()
}

for no_new_privileges in false true; do
    what="noNewPrivileges $no_new_privileges"
    control "clair-like program in a container, $what" in_container /clair /tmp 1 1
    gives 0 "clair-like program" /clair /tmp 4 20
    grep -qx ready "$scratch/out" || fail "the clair-like program says nothing; $(seen)"
    gives 0 "a program that leaves orphans" /container orphans
    for code in 0 1 42 125 255; do
        gives $code "exit $code" /container exit $code
    done
    # S7: nothing here can be written to and executed from but /tmp, and the directory has to go at the program's end.
    run in_container /dynamic directory
    equal "mkdtemp in a container without tmpshim; $(seen)" "0 1" "$status $(find . -name 'made.*' | wc -l)"
    rmdir made.*
    run in_container /tmpshim run -- /dynamic directory
    equal "mkdtemp in a container; $(seen)" 0 "$status"
    assert_empty "after mkdtemp in a container; $(seen)"
    gives 127 "a program that is not there" /nothing
    ended_by TERM /container waits
    equal "status of a program that ends when asked to, $what" 7 "$status"
    grep -qx "asked to end" "$scratch/said" || fail "SIGTERM has not reached the program, $what"
    ended_by TERM /container unaware
    equal "status of a program that SIGTERM ends, $what" 143 "$status"
    ended_by KILL /container unaware
    equal "status of a container that was killed, $what" 137 "$status"
    assert_empty "after signals"
done
finish
