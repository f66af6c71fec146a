//! The one place that undoes what the harness did to the machine.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the harness ends, however it ends, SIGKILL included. Then it unmounts
/// everything below the scratch directory and removes that. A mount stays busy for a moment after its last user has gone,
/// since FUSE releases are asynchronous; one that stays busy for longer is detached, and that is an error.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
status=0
below() { awk -v scratch="$1/" 'index($5, scratch) == 1 { print $5 }' /proc/self/mountinfo | tac; }
for mount in $(below "$1"); do
    tries=0
    until umount "$mount" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -ge 300 ]; then
            users=$(fuser --mount "$mount" 2>/dev/null)
            umount -l "$mount"
            echo "matrix: $mount was still in use by${users:- nobody who can be seen}" >&2
            status=1
            break
        fi
        sleep 0.1
    done
done
rm -rf --one-file-system "$1" || status=1
exit "$status"
"#;

pub(crate) struct Janitor(Child);

impl Janitor {
    pub(crate) fn hire(scratch: &Path) -> Result<Self, String> {
        // A process group of its own: an interrupt at the terminal must not end it.
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "janitor"])
            .arg(scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        child.map(Self).map_err(|error| format!("sh: {error}"))
    }

    /// Cleans now, and says whether all of it went.
    pub(crate) fn clean(mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cleaning up: {status}")),
            Err(error) => Err(format!("cleaning up: {error}")),
        }
    }
}
