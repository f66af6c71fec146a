"""Prints the config.json of an OCI bundle: a container as podman makes one for a user without any capability.

usage: container.py PROFILE NO_NEW_PRIVILEGES TMP [ARGUMENT...]

PROFILE is containers-common's seccomp.json, from which the rules are taken that hold for x86-64 and no capabilities. TMP is
bound to /tmp. The root is read-only, and no cgroup filesystem is there.
"""

import json
import sys

profile, no_new_privileges, tmp, *arguments = sys.argv[1:]
with open(profile, encoding="utf-8") as file:
    rules = json.load(file)


def holds(rule):
    """As containers-common decides, with no capabilities, on amd64 and a new kernel."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("caps") or "amd64" not in includes.get("arches", ["amd64"]):
        return False
    return "amd64" not in excludes.get("arches", [])


def converted(rule):
    entry = {"names": rule["names"], "action": rule["action"]}
    if rule.get("args"):
        entry["args"] = rule["args"]
    if "errnoRet" in rule:
        entry["errnoRet"] = rule["errnoRet"]
    return entry


def mount(place, kind, *options, source=None):
    return {"destination": place, "type": kind, "source": source or kind, "options": list(options)}


plain = ("nosuid", "noexec", "nodev")
config = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 65534, "gid": 65534},
        "args": arguments,
        "env": ["PATH=/usr/bin:/bin"],
        "cwd": "/",
        "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        "noNewPrivileges": no_new_privileges == "true",
    },
    "root": {"path": "root", "readonly": True},
    "mounts": [
        mount("/proc", "proc", *plain),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        mount("/dev/shm", "tmpfs", *plain, "mode=1777", "size=65536k", source="shm"),
        mount("/dev/mqueue", "mqueue", *plain),
        mount("/sys", "sysfs", *plain, "ro"),
        mount("/tmp", "bind", "rbind", "rprivate", "nosuid", "nodev", source=tmp),
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "seccomp": {
            "defaultAction": rules["defaultAction"],
            "defaultErrnoRet": rules.get("defaultErrnoRet", 1),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [converted(rule) for rule in rules["syscalls"] if holds(rule)],
        },
    },
}
json.dump(config, sys.stdout, indent=1)
