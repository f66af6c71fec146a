"""Prints the config.json by which runc starts a container that `podman create` has made.

usage: clair_guide.py CONTAINER_PY PROFILE TMP ROOT < what `podman inspect` says

CONTAINER_PY prints a config.json with everything but what the container itself says: command, user, environment and
volumes. TMP is bound to /tmp. ROOT is where podman has mounted the container.
"""

import json
import subprocess
import sys

container_py, profile, tmp, root = sys.argv[1:]
[container] = json.load(sys.stdin)
arguments = [container["Path"], *container["Args"]]
printed = subprocess.run(
    [sys.executable, container_py, profile, "false", tmp, *arguments], check=True, stdout=subprocess.PIPE
).stdout
config = json.loads(printed)
config["root"]["path"] = root
process = config["process"]
process["env"] = container["Config"]["Env"]
process["cwd"] = container["Config"]["WorkingDir"] or "/"
users = {"": (0, 0), "nobody:nobody": (65534, 65534), "65532:65532": (65532, 65532)}
user = container["Config"]["User"]
if user not in users:
    sys.exit(f"user {user} is not in the test's images")
process["user"] = dict(zip(("uid", "gid"), users[user]))
for mount in container["Mounts"]:
    config["mounts"].append(
        {
            "destination": mount["Destination"],
            "type": "bind",
            "source": mount["Source"],
            "options": ["bind", "rprivate", "rw" if mount["RW"] else "ro"],
        }
    )
json.dump(config, sys.stdout, indent=1)
