#!/usr/bin/env bash
# skopeo of Debian trixie, unmodified Go, pulls an image from a registry into a store on the filesystem under test. Where the
# store wants layers in chunks, skopeo converts each in a file that it opens with O_TMPFILE, and has no fallback. S2, T1.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# shellcheck source=supervised.sh
. "$(dirname -- "$0")/supervised.sh"
# shellcheck source=debian.sh
. "$(dirname -- "$0")/debian.sh"
need_root "skopeo runs in a root of its own"
unshare --mount true 2>/dev/null || skip "no new mount namespace can be had here"
need apt-get dpkg-deb
need_python
release_root trixie-skopeo skopeo fuse-overlayfs docker-registry coreutils dash

export SHARED=$scratch/shared
mkdir "$SHARED"
install -m 755 "$tmpshim" "$SHARED/tmpshim"
tmpshim=/tmp/shared/tmpshim

# The kernel's own overlay does not lie over FUSE, so the store says by what program it would mount its containers. None is
# mounted here.
cat >"$SHARED/storage.conf" <<'CONF'
[storage]
driver = "overlay"
graphroot = "/under-test/graph"
runroot = "/tmp/run"
[storage.options]
pull_options = {enable_partial_images = "true", convert_images = "true"}
[storage.options.overlay]
mount_program = "/usr/bin/fuse-overlayfs"
CONF
cat >"$SHARED/registry.yml" <<'YAML'
version: 0.1
storage: {filesystem: {rootdirectory: /tmp/registry}}
http: {addr: "127.0.0.1:0"}
YAML

# An image of two layers, and beside it what is in them.
"$python" - "$SHARED" <<'PYTHON' || fail "cannot make an image"
import gzip, hashlib, io, json, os, random, sys, tarfile

random.seed(1)
shared = sys.argv[1]
blobs = f"{shared}/oci/blobs/sha256"
os.makedirs(blobs)

def digest(data):
    return hashlib.sha256(data).hexdigest()

def blob(data, kind):
    with open(f"{blobs}/{digest(data)}", "wb") as file:
        file.write(data)
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest(data)}", "size": len(data)}

layers, plain = [], []
for layer in range(2):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        os.makedirs(f"{shared}/expected/{layer}")
        for size in (0, 1, 4096, 100_000, 1_000_000):
            data = random.randbytes(size // 2) * 2
            entry = tarfile.TarInfo(f"{layer}/{size}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            with open(f"{shared}/expected/{entry.name}", "wb") as file:
                file.write(data)
    plain.append(f"sha256:{digest(buffer.getvalue())}")
    layers.append(blob(gzip.compress(buffer.getvalue(), mtime=0), "layer.v1.tar+gzip"))
config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": plain}}
manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
for name, content in ("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"}):
    with open(f"{shared}/oci/{name}", "w") as file:
        json.dump(content, file)
PYTHON

# shellcheck disable=SC2016 # for the shell inside
in_root sh -c 'echo $$ >/tmp/shared/registry; exec docker-registry serve /tmp/shared/registry.yml' >"$scratch/registry" 2>&1 &
until_true 20 "the registry has started" test -s "$SHARED/registry"
children+=("$(cat "$SHARED/registry")")
until_true 20 "the registry listens: $(cat "$scratch/registry")" grep -q 'listening on' "$scratch/registry"
address=$(sed -nE 's/.*listening on ([0-9.]+:[0-9]+).*/\1/p' "$scratch/registry")

without() {
    in_root env CONTAINERS_STORAGE_CONF=/tmp/shared/storage.conf HOME=/tmp "$@"
}
with() {
    without "$tmpshim" run "${run_options[@]}" -- "$@"
}
succeeds "skopeo's push" without skopeo --insecure-policy copy --dest-tls-verify=false oci:/tmp/shared/oci "docker://$address/image"
pull=(skopeo --insecure-policy copy --src-tls-verify=false "docker://$address/image" containers-storage:image)

# What has come out of the layers, and that it was in chunks.
pulled_well() { # HOW
    local layer file
    for layer in 0 1; do
        for file in "$SHARED/expected/$layer"/*; do
            cmp "$file" graph/overlay/*/diff/"$layer/${file##*/}" || fail "$1: layer $layer, ${file##*/}"
        done
    done
    equal "$1: layers in chunks" 2 "$(find graph/overlay-layers -name "=$(printf zstd-chunked-manifest | base64)" | wc -l)"
    equal "$1: what is being staged" "" "$(ls graph/overlay/staging)"
    assert_nothing_hidden "$1"
    rm -rf graph
}
control "skopeo's pull" "${pull[@]}"
[ $native = no ] || pulled_well "without tmpshim"
[ $native = yes ] || grep -q "staging a partially-pulled layer" "$scratch/err" || fail "skopeo fails otherwise; $(seen)"
rm -rf graph
succeeds "skopeo's pull with tmpshim" with "${pull[@]}"
pulled_well "with tmpshim"
finish
