# shellcheck shell=bash
# The files of deploy/ and the commands of docs/cluster.md, for cluster.sh, which sources this: rendered, decoded, evaluated. Leaves
# $scratch/example.yaml and node.yaml, as they are rendered, and mutated.yaml, the example's pod as the policy makes it.
# shellcheck disable=SC2154 # of common.sh and cluster.sh

# The checker takes minutes to build, with all of Kubernetes' types, so it is kept beside the packages that it is made of.
export SHARED=$scratch/shared
mkdir "$SHARED"
cp -r "$deploy" "$beside/cluster.go" "$SHARED"
checker=$root.checker-$(cat "$beside/cluster.go" "$root/.packages" | sha256sum | cut -c 1-16)
if [ ! -x "$checker" ]; then
    in_root env HOME=/tmp GOPATH=/usr/share/gocode GO111MODULE=off CGO_ENABLED=0 \
        go build -gcflags=all="-N -l" -ldflags=-s -o /tmp/shared/checker /tmp/shared/cluster.go >"$scratch/build" 2>&1 ||
        fail "cannot build cluster.go: $(cat "$scratch/build")"
    rm -f "$root".checker-*
    cp "$SHARED/checker" "$checker.new.$$"
    mv "$checker.new.$$" "$checker"
fi

# ---- rendered and decoded

render() { # DIRECTORY
    run in_root kustomize build "/tmp/shared/deploy/$1"
    equal "kustomize build $1; $(seen)" 0 "$status"
    cp "$scratch/out" "$scratch/${1##*/}.yaml"
    succeeds "kubectl kustomize $1" in_root kubectl kustomize "/tmp/shared/deploy/$1"
    cmp -s "$scratch/out" "$scratch/${1##*/}.yaml" || fail "kubectl and kustomize do not render the same of $1"
    "$checker" validate <"$scratch/${1##*/}.yaml" >"$scratch/kinds" || fail "$1 is not as Kubernetes has it"
    if grep -nE 'image: *("?[^:" ,]+|.*:latest)"?$' "$scratch/${1##*/}.yaml"; then fail "$1: an image without a version"; fi
}
for kustomization in example policy node; do
    render $kustomization
done
printf 'apiVersion: v1\nkind: Pod\nspec: {hostPid: true}\n' >"$scratch/wrong.yaml"
# shellcheck disable=SC2016 # for the shell inside
refused "a field that is unknown" 'unknown field' sh -c '"$0" validate <"$1"' "$checker" "$scratch/wrong.yaml"

# A workload that does not name its command is refused, one that does not want to is left alone, any kind is served.
other=$SHARED/deploy/other
mkdir "$other"
printf '%s\n' 'resources: [a.yaml]' 'components: [../component]' 'images: [{name: registry.example/tmpshim, newName: mine.example/t}]' \
    >"$other/kustomization.yaml"
cat >"$other/a.yaml" <<'END'
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {template: {spec: {initContainers: [{name: first, image: "f:1"}], containers: [{name: a, image: "a:1", command: [a, b]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: out, labels: {tmpshim: disabled}}
spec: {template: {spec: {containers: [{name: a, image: "a:1"}]}}}
END
render other
equal "wrapped in the other kinds" 1 "$(grep -c -- '- run' "$scratch/other.yaml")"
equal "images of another registry" 1 "$(grep -c 'image: mine.example/t:0.1.0' "$scratch/other.yaml")"
sed -i 's/, command: .a, b.//' "$other/a.yaml"
refused "a container without a command" 'doc is missing path: ' in_root kustomize build /tmp/shared/deploy/other

# ---- docs/cluster.md, as it is written

guide=$(realpath -- "$beside/../../docs/cluster.md")
# Whatever is said to podman stays in here.
export CONTAINERS_STORAGE_CONF=$scratch/storage.conf CONTAINERS_CONF=$scratch/containers.conf BUILDAH_ISOLATION=chroot
printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\ntmp_dir = "%s"\n' "$scratch/libpod" >"$CONTAINERS_CONF"
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$scratch/store" "$scratch/run" >"$CONTAINERS_STORAGE_CONF"
mkdir "$SHARED/dist"
cp "$tmpshim" "$SHARED/dist/tmpshim"
chmod 755 "$SHARED/dist/tmpshim"
kubectl() { # kustomize DIRECTORY
    in_root kubectl "$1" "/tmp/shared/$2"
}
cd "$SHARED" || exit
commands=0
while read -r line; do
    succeeds "the guide's $line" eval "$line"
    commands=$((commands + 1))
done < <(awk '$0 == "```" { inside = 0 } inside { print } $0 == "```sh" { inside = 1 }' "$guide")
equal "commands in the guide" 4 $commands
cd "$directory" || exit
equal "the image" '[/tmpshim] 65532:65532' \
    "$(podman inspect --format '{{.Config.Entrypoint}} {{.Config.User}}' registry.example/tmpshim:0.1.0)"
grep -qxF "$(grep -A 5 'command:' "$scratch/example.yaml" | sed -n 's/^ *- //p' | head -n 5 | tr '\n' ' ' | sed 's/ $//')" "$guide" ||
    fail "the guide shows other words in front of the command"

# ---- the policy

pod_of() { # the pod of a Deployment on standard input
    "$python" -c '
import sys, yaml
template = yaml.safe_load(sys.stdin)["spec"]["template"]
print(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}))'
}
pod_of <"$deploy/example/deployment.yaml" >"$scratch/pod.yaml"
"$checker" mutate "$deploy/policy/policy.yaml" <"$scratch/pod.yaml" >"$scratch/mutated.yaml" || fail "the policy cannot be evaluated"
"$checker" validate <"$scratch/mutated.yaml" >"$scratch/kinds" || fail "the policy makes a pod that is none"
"$python" - "$scratch/mutated.yaml" "$scratch/example.yaml" <<'PYTHON' || fail "policy and component do not make the same pod"
import sys, yaml
by_policy, by_component = (yaml.safe_load(open(file)) for file in sys.argv[1:])
by_policy, by_component = by_policy["spec"], by_component["spec"]["template"]["spec"]
state = by_policy["containers"][0]["command"]
assert state[3] == "--state-dir=/opt/tmpshim-state/scanner", state
state[3] = "--state-dir=/opt/tmpshim-state/0"
by_policy["volumes"].sort(key=lambda volume: volume["name"])
by_component["volumes"].sort(key=lambda volume: volume["name"])
assert by_policy == by_component, f"{by_policy}\n{by_component}"
PYTHON
says() { # WHAT SED-EXPRESSION
    sed "$2" "$scratch/pod.yaml" >"$scratch/changed.yaml"
    equal "policy: $1" "unmatched: $1" "$("$checker" mutate "$deploy/policy/policy.yaml" <"$scratch/changed.yaml")"
}
says not-wrapped-yet 's/name: scratch/name: tmpshim/'
says linux 's/^spec:/spec:\n  os: {name: windows}/'
says names-a-command '/command:/,+1d'
cat >"$scratch/several.yaml" <<'END'
{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {
  initContainers: [{name: first, image: "f:1", command: [f]}],
  containers: [{name: a, image: "a:1"}, {name: b, image: "b:1", command: [b, -x]}, {name: c, image: "c:1", command: [c]}]}}
END
"$checker" mutate "$deploy/policy/policy.yaml" <"$scratch/several.yaml" >"$scratch/out" || fail "the policy, on several containers"
"$checker" validate <"$scratch/out" >"$scratch/kinds" || fail "the policy, on several containers, makes a pod that is none"
"$python" - "$scratch/out" <<'PYTHON' || fail "the policy, on several containers"
import sys, yaml
spec = yaml.safe_load(open(sys.argv[1]))["spec"]
commands = [container.get("command") for container in spec["containers"]]
wrapped = ["/opt/tmpshim/tmpshim", "run", "--log=stderr"]
assert commands == [None, wrapped + ["--state-dir=/opt/tmpshim-state/b", "--", "b", "-x"],
                    wrapped + ["--state-dir=/opt/tmpshim-state/c", "--", "c"]], commands
assert [container["name"] for container in spec["initContainers"]] == ["tmpshim", "first"]
assert "volumeMounts" not in spec["containers"][0] and len(spec["containers"][1]["volumeMounts"]) == 2
PYTHON
