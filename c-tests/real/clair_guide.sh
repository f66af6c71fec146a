#!/usr/bin/env bash
# docs/clair.md, followed by the letter: every command that it gives is run as it is written there, with the files of
# docs/clair, on an image that is made here under the name of Clair's. What podman makes of them, image or container, is
# started by runc, with podman's seccomp profile and with one like Docker's, since podman needs control groups for that.
# S4, S5, S7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
need_root "runc makes containers, as root"
need podman runc go
need_python
[ "$(uname -m)" = x86_64 ] || skip "container.py knows the profile's rules for x86-64 only"
"$python" -c 'import yaml' 2>/dev/null || skip "no python3-yaml (scripts/setup installs it)"
profile=/usr/share/containers/seccomp.json
[ -r $profile ] || skip "no $profile (scripts/setup installs golang-github-containers-common)"
beside=$(dirname -- "$(realpath -- "$0")")
docs=$(realpath -- "$beside/../../docs")
guide=$docs/clair.md
bundle=$scratch/bundle
work=$scratch/work
mkdir -p "$bundle" "$work" "$scratch/base/bin" "$scratch/base/etc"

# Whatever is said to podman stays in here.
export CONTAINERS_STORAGE_CONF=$scratch/storage.conf CONTAINERS_CONF=$scratch/containers.conf BUILDAH_ISOLATION=chroot
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$scratch/images"
runroot = "$scratch/containers"
END
cat >"$CONTAINERS_CONF" <<END
[containers]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "$scratch/libpod"
END

# The image that the guide begins with.
build_go 0 "$scratch/base/bin/clair" "$beside/clair_scan.go"
echo "nobody:x:65534:65534::/:/sbin/nologin" >"$scratch/base/etc/passwd"
echo "nobody:x:65534:" >"$scratch/base/etc/group"
printf '%s\n' "FROM scratch" "COPY bin /bin" "COPY etc /etc" "USER nobody:nobody" \
    'ENTRYPOINT ["/usr/local/bin/catatonit","--","/bin/clair"]' >"$scratch/base/Containerfile"
image=quay.io/projectquay/clair:4.7.3
command podman build --quiet --tag $image "$scratch/base" >"$scratch/build" 2>&1 ||
    skip "podman builds no image here: $(tail -n 3 "$scratch/build")"

# Like podman's, less what Docker's does not allow to a container without capabilities.
like_docker=$scratch/docker.json
"$python" - $profile >"$like_docker" <<'END'
import json, sys
denied = {"unshare", "setns", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "name_to_handle_at", "chroot"}
with open(sys.argv[1], encoding="utf-8") as file:
    profile = json.load(file)
for rule in profile["syscalls"]:
    rule["names"] = [name for name in rule["names"] if name not in denied]
profile["syscalls"] = [rule for rule in profile["syscalls"] if rule["names"]]
json.dump(profile, sys.stdout)
END

# start ID: the container that podman has made, by runc.
start() {
    local root
    root=$(command podman mount "$1") || return
    command podman inspect "$1" |
        "$python" "$beside/clair_guide.py" "$beside/container.py" "$rules" "$directory" "$root" >"$bundle/config.json"
    runc --root "$scratch/runc" run --bundle "$bundle" "tmpshim-guide-$$"
}

# What the guide says to podman; but what it is to run, runc does.
podman() {
    local container
    if [ "$1" = run ]; then
        shift
        [ "$1" != --rm ] || shift
        container=$(command podman create "$@") || return
        start "$container"
    else
        command podman "$@"
    fi
}

# blocks LANGUAGE: what stands in the guide's blocks of that language.
blocks() {
    awk -v fence="\`\`\`$1" '$0 == "```" { inside = 0 } inside { print } $0 == fence { inside = 1 }' "$guide"
}

scanned() { # WHAT
    equal "$1; $(seen)" "0 scanned" "$status $(tail -n 1 "$scratch/out")"
    [ $native = yes ] || grep -q '"program":"clair","event":"stood-in","path":"/tmp"' "$scratch/err" ||
        fail "$1: nothing on the log; $(seen)"
    assert_empty "after $1"
}

chmod 1777 .
cd "$work"
cp "$docs"/clair/* .
install -m 755 "$tmpshim" tmpshim

for rules in "$profile" "$like_docker"; do
    # Without it: what the guide says that one sees.
    run podman run --entrypoint /bin/clair quay.io/projectquay/clair:4.7.3
    [ "$status" != 0 ] || [ $native = yes ] || fail "without tmpshim: $(seen)"
    [ $native = yes ] || grep -qi "$(blocks text | head -n 1)" "$scratch/err" || fail "not the guide's message: $(seen)"

    count=0
    while read -r line; do
        count=$((count + 1))
        # Once is enough: no container's profile has anything to do with it.
        [[ $rules == "$profile" || $line != "podman build"* ]] || continue
        run eval "$line"
        equal "$line; $(seen)" 0 "$status"
        case $line in
            *" inspect "*)
                equal "$line" '["/usr/local/bin/catatonit","--","/bin/clair"] null nobody:nobody' "$(cat "$scratch/out")"
                tr '\n' ' ' <"$guide" | grep -qF "$(cat "$scratch/out")" || fail "the guide does not say: $(cat "$scratch/out")" ;;
            *" --version") grep -q '^tmpshim [0-9]' "$scratch/out" || fail "$line: $(seen)" ;;
            "podman run"*)
                scanned "$line"
                grep -qxF "$(grep '^tmpshim: ' "$scratch/err")" <(blocks text) || fail "the guide does not show: $(seen)" ;;
        esac
    done < <(blocks sh)
    [ "$count" -ge 7 ] || fail "only $count commands were found in $guide"
done

# Compose and Kubernetes: what the files say, said to podman.
mapfile -t words < <("$python" -c '
import yaml
service = yaml.safe_load(open("compose.yaml"))["services"]["clair"]
first, *rest = service["entrypoint"]
for volume in service["volumes"]:
    print("--volume", volume.replace("./", "'"$work"'/", 1), sep="\n")
print("--entrypoint", first, service["image"], *rest, sep="\n")')
run podman run "${words[@]}"
scanned "compose.yaml"
mkdir "$scratch/empty"
chmod 777 "$scratch/empty"
for kind in initContainers containers; do
    mapfile -t words < <("$python" -c '
import yaml
[container] = yaml.safe_load(open("kubernetes.yaml"))["spec"]["template"]["spec"]["'$kind'"]
first, *rest = container["command"]
for mount in container["volumeMounts"]:
    flags = ":ro" if mount.get("readOnly") else ""
    print("--volume", "'"$scratch/empty"':" + mount["mountPath"] + flags, sep="\n")
print("--entrypoint", first, container.get("image", "quay.io/projectquay/clair:4.7.3"), *rest, sep="\n")')
    run podman run "${words[@]}"
    [ $kind = containers ] || equal "the init container of kubernetes.yaml; $(seen)" 0 "$status"
done
scanned "kubernetes.yaml"
rm -r "$scratch/empty"

# What the guide shows of the files is in them.
equal "the Containerfile in the guide" "$(grep -v '^#' Containerfile)" "$(blocks Dockerfile)"
while IFS= read -r line; do
    grep -qxF -- "$line" compose.yaml || fail "not in compose.yaml: $line"
done < <(blocks yaml)
if command -v kubectl >/dev/null; then
    printf '%s\n' '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "clair"}, "spec": {"template": {"spec":
        {"containers": [{"name": "clair", "image": "clair"}]}}}}' >deployment.json
    succeeds "kubectl patch" kubectl patch --local -f deployment.json --patch-file kubernetes.yaml -o yaml
    equal "containers after kubectl patch" 1 "$(grep -c -- '- /bin/clair' "$scratch/out")"
fi
finish
