"""Prints the config.json by which runc starts a container of a pod, as a kubelet would have it started.

usage: cluster.py CONTAINER_PY PROFILE VOLUMES ROOT NAME < pod or workload, as YAML

CONTAINER_PY prints a config.json for a user without capabilities, under the seccomp profile PROFILE. In VOLUMES lies a directory
for each volume, by its name. ROOT is the unpacked image, NAME the container, of either kind.
"""

import json
import subprocess
import sys

import yaml

container_py, profile, volumes, root, name = sys.argv[1:]
document = yaml.safe_load(sys.stdin)
pod = document["spec"]["template"]["spec"] if "template" in document["spec"] else document["spec"]
[container] = [c for c in pod.get("initContainers", []) + pod["containers"] if c["name"] == name]
context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
arguments = container["command"] + container.get("args", [])
if context["runAsNonRoot"] == (context["runAsUser"] == 0):
    sys.exit(f"{name}: a kubelet would not start it as user {context['runAsUser']}")
if context["seccompProfile"] != {"type": "RuntimeDefault"}:
    sys.exit(f"{name}: another seccomp profile than the runtime's")
given = context["capabilities"]
if given["drop"] != ["ALL"]:
    sys.exit(f"{name}: capabilities that nobody needs")
may_gain = context.get("allowPrivilegeEscalation", True)
if not may_gain and "SYS_ADMIN" in given.get("add", []):
    sys.exit(f"{name}: the API server refuses allowPrivilegeEscalation: false with SYS_ADMIN")

command = [sys.executable, container_py, profile, "false" if may_gain else "true", "/tmp", *arguments]
config = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
config["root"] = {"path": root, "readonly": context["readOnlyRootFilesystem"]}
process = config["process"]
process["user"] = {"uid": context["runAsUser"], "gid": context["runAsGroup"]}
process["env"] += [f"{variable['name']}={variable['value']}" for variable in container.get("env", [])]
held = [f"CAP_{capability}" for capability in given.get("add", [])]
for kind in ("bounding", "effective", "permitted"):
    process["capabilities"][kind] = held
if pod.get("hostPID"):
    config["linux"]["namespaces"] = [kind for kind in config["linux"]["namespaces"] if kind["type"] != "pid"]
config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/tmp"]
known = {volume["name"] for volume in pod.get("volumes", [])}
for mount in container.get("volumeMounts", []):
    if mount["name"] not in known:
        sys.exit(f"{name}: no volume {mount['name']}")
    options = ["rbind", "rprivate", "ro" if mount.get("readOnly") else "rw"]
    source = f"{volumes}/{mount['name']}"
    config["mounts"].append({"destination": mount["mountPath"], "type": "bind", "source": source, "options": options})
json.dump(config, sys.stdout, indent=1)
