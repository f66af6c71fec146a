#!/usr/bin/env bash
# deploy/, as a cluster would have it: rendered by Debian trixie's kustomize and kubectl, decoded by the types of Kubernetes' own
# API, the policy evaluated by the language's own implementation; and what comes out started by runc as a kubelet would: the
# example's pod, killed and started again, and both containers of the nodes' DaemonSet. D5, S4.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
need_root "runc makes containers, as root"
need runc podman go gcc apt-get dpkg-deb unshare
need_python
[ "$(uname -m)" = x86_64 ] || skip "container.py knows the profile's rules for x86-64 only"
"$python" -c 'import yaml' 2>/dev/null || skip "no python3-yaml (scripts/setup installs it)"
"$python" -c 'import prometheus_client' 2>/dev/null || skip "no python3-prometheus-client (scripts/setup installs it)"
unshare --pid --fork --mount-proc true 2>/dev/null || skip "no new PID namespace can be had here"
profile=/usr/share/containers/seccomp.json
[ -r $profile ] || skip "no $profile (scripts/setup installs golang-github-containers-common)"
beside=$(dirname -- "$(realpath -- "$0")")
deploy=$(realpath -- "$beside/../../deploy")
release_root trixie-cluster kustomize kubernetes-client golang-go golang-k8s-api-dev golang-github-google-cel-go-dev \
    golang-k8s-sigs-yaml-dev golang-github-evanphx-json-patch-dev coreutils dash

# shellcheck source=cluster_files.sh
. "$beside/cluster_files.sh"

# ---- the example's pod

runs=$scratch/runc
bundle=$scratch/bundle
volumes=$scratch/volumes
name=tmpshim-cluster-$$
images=$scratch/images
mkdir -p "$bundle" "$volumes" "$images"/{tmpshim,scanner}/{proc,dev,sys} "$images/scanner/tmp"
image=$(podman create registry.example/tmpshim:0.1.0)
cp -a "$(podman mount "$image")/." "$images/tmpshim"
build_go 0 "$images/scanner/clair" "$beside/clair.go"
build_c "$images/scanner/scanner" "$beside/cluster.c"
ldd "$images/scanner/scanner" | grep -oE '/[^ ]+' | while read -r file; do
    mkdir -p "$images/scanner$(dirname "$file")"
    cp "$file" "$images/scanner$file"
done
ln -s "$directory" "$volumes/scratch"
chmod 1777 .

configure() { # FILE IMAGE CONTAINER
    "$python" "$beside/cluster.py" "$beside/container.py" $profile "$volumes" "$images/$2" "$3" <"$1" >"$bundle/config.json" ||
        fail "no container $3 in $1"
}
contain() { # FILE IMAGE CONTAINER
    configure "$@"
    printf '\n\n' | runc --root "$runs" run --bundle "$bundle" "$name"
}
# begin FILE IMAGE CONTAINER [WORD]: in the background, up to its word; standard output to $scratch/said.
begin() {
    configure "$1" "$2" "$3"
    : >"$scratch/said"
    runc --root "$runs" run --bundle "$bundle" "$name" </dev/null >"$scratch/said" 2>"$scratch/err" &
    children=($!)
    [ $# = 3 ] || until_true 30 "container $3 says $4: $(cat "$scratch/err")" grep -q "$4" "$scratch/said"
}
end_by() { # SIGNAL STATUS
    runc --root "$runs" kill "$name" "$1" || fail "runc kill"
    status=0
    wait "${children[0]}" || status=$?
    children=()
    equal "status after SIG$1; $(cat "$scratch/err" "$scratch/said")" "$2" "$status"
}
empty_volumes() { # MODE GROUP: as a kubelet makes them, where the pod has an fsGroup or none
    rm -rf "$volumes"/tmpshim "$volumes"/tmpshim-state
    mkdir "$volumes"/tmpshim "$volumes"/tmpshim-state
    chgrp "$2" "$volumes"/tmpshim*
    chmod "$1" "$volumes"/tmpshim*
}

run contain "$deploy/example/deployment.yaml" scanner scanner
[ $native = yes ] || grep -q 'temporary file: Operation not supported' "$scratch/err" || {
    grep -q 'runc' "$scratch/err" && skip "runc makes no containers here: $(seen)"
    fail "the example without tmpshim: $(seen)"
}
: >"$scratch/log"
for pod in "$scratch/example.yaml" "$scratch/mutated.yaml"; do
    case $pod in
        */mutated.yaml) empty_volumes 2777 1234 ;;
        *) empty_volumes 777 0 ;;
    esac
    run contain "$pod" tmpshim tmpshim
    equal "the init container; $(seen)" 0 "$status"
    equal "what it installs" "libtmpshim.so 755 tmpshim 755" "$(cd "$volumes/tmpshim" && stat -c '%n %a' -- * | tr '\n' ' ' | sed 's/ $//')"
    begin "$pod" scanner scanner ready
    first=$(echo made.*)
    exists "$first" "the directory of the example's program"
    cat "$scratch/said" "$scratch/err" >>"$scratch/log"
    end_by KILL 137
    exists "$first" "what a killed container has left"
    [ -n "$(find "$volumes/tmpshim-state" -name '.tmpshim-j*')" ] || fail "nothing stands in the state directory"
    # A new container: another root, another PID namespace, the same volumes.
    cp -r "$images/scanner" "$images/again"
    begin "$pod" again scanner ready
    gone "$first" "what the killed container had left, once it was started again"
    end_by TERM 0
    cat "$scratch/said" "$scratch/err" >>"$scratch/log"
    rm -r "$images/again"
    assert_empty "after the example, $pod"
    equal "left in the state directory" "" "$(find "$volumes/tmpshim-state" -mindepth 2)"
    equal "others' rights to it" "00 65534" "$(stat -c '%a %u' "$volumes"/tmpshim-state/* | sed 's/^2\?7//')"
done

# A static Go program that does what Clair does.
cp -r "$SHARED/deploy/example" "$SHARED/deploy/clair"
sed -i 's#\["/scanner"\]#["/clair"]#; s#args: .*#args: [/tmp, "2", "10"]#' "$SHARED/deploy/clair/deployment.yaml"
[ $native = yes ] || refused "a program like Clair" 'ot supported' contain "$SHARED/deploy/clair/deployment.yaml" scanner scanner
render clair
empty_volumes 777 0
succeeds "the init container" contain "$scratch/clair.yaml" tmpshim tmpshim
succeeds "a program like Clair" contain "$scratch/clair.yaml" scanner scanner
grep -qx "done" "$scratch/out" || fail "a program like Clair: $(seen)"
[ $native = yes ] || equal "files of a program like Clair" 30 "$(grep -c '"event":"stood-in"' "$scratch/err")"
assert_empty "after a program like Clair"

# ---- the nodes' DaemonSet

"$python" - "$scratch/node.yaml" >"$scratch/daemonset.yaml" <<'PYTHON'
import sys, yaml
[daemonset] = [document for document in yaml.safe_load_all(open(sys.argv[1])) if document["kind"] == "DaemonSet"]
print(yaml.safe_dump(daemonset))
PYTHON

# Counts what the example's pods have said, as containerd writes it.
mkdir -p "$volumes/logs/default_scanner_1/scanner" "$volumes/textfile"
sed 's/^/2026-11-23T05:00:00.123456789Z stderr F /' "$scratch/log" >"$volumes/logs/default_scanner_1/scanner/0.log"
begin "$scratch/daemonset.yaml" tmpshim metrics
until_true 30 "metrics are written: $(cat "$scratch/err")" test -s "$volumes/textfile/tmpshim.prom"
equal "mode of the metrics" 644 "$(stat -c %a "$volumes/textfile/tmpshim.prom")"
while read -r metric; do
    grep -q "^|.*\`$metric\`" "$guide" || fail "$metric is not in the guide"
done < <(sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$volumes/textfile/tmpshim.prom")
"$python" - "$volumes/textfile/tmpshim.prom" $native <<'PYTHON' || fail "metrics: $(cat "$volumes/textfile/tmpshim.prom")"
import sys
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(open(sys.argv[1]).read()))
assert all(family.documentation and family.type in ("counter", "gauge") for family in families), families
samples = {(sample.name, sample.labels.get("program")): sample.value for family in families for sample in family.samples}
expected = {"tmpshim_fallbacks_total": 0 if sys.argv[2] == "yes" else 4, "tmpshim_directories_removed_total": 4,
            "tmpshim_fallback_failures_total": 0, "tmpshim_publishes_total": 0, "tmpshim_publish_failures_total": 0,
            "tmpshim_directories_skipped_total": 0}
for name, value in expected.items():
    assert samples[name, "scanner"] == value, (name, value)
assert samples["tmpshim_log_files", None] == 1
PYTHON
end_by TERM 0
equal "left beside the metrics" tmpshim.prom "$(ls -A "$volumes/textfile")"

# The host is a PID namespace, with mounts of its own.
chmod 755 "$scratch"
export runs bundle name images volumes profile beside python scratch directory library
unshare --pid --fork --kill-child --mount-proc bash -eu "$beside/cluster_host.sh" >"$scratch/host" 2>&1 ||
    fail "the sweep of a node: $(cat "$scratch/host")"
finish
