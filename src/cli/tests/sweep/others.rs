//! Root sweeps for other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use super::forged::Forged;
use super::rights::is_root;
use super::site::{Site, events};
use super::sweeping::{NOBODY, TMPSHIM, lines, names, text, tool};

#[test]
fn d5_root_sweeps_for_others_with_their_rights_only() {
    if !is_root("sweeping for others") {
        return;
    }
    let site = Site::new().give_to(NOBODY);
    let kill = || {
        let mut command = site.victim("killed", 2);
        command.uid(NOBODY).gid(NOBODY);
        assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    };
    kill();
    let journal = site.journal();
    assert_eq!(fs::metadata(&journal).unwrap().uid(), NOBODY);
    let original = fs::read(&journal).unwrap();

    // Root's own directory, whole and young, is named by that user's journal.
    let precious = site.root.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "kept").unwrap();
    fs::write(&journal, Forged::from(&journal).claim(&precious, 0)).unwrap();
    let output = site.sweep(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let all = lines(&output);
    let skipped = events(&all, "skipped");
    assert_eq!((skipped.len(), &skipped[0]["path"]), (1, &precious.to_str().unwrap().into()));
    assert_eq!(skipped[0]["uid"], NOBODY);
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "kept");

    // Links in the way: for a journal, for a run's directory, and for the state directory itself.
    fs::write(&journal, &original).unwrap();
    let link = |name: &str, target: &Path| {
        symlink(target, site.state().join(name)).unwrap();
        site.state().join(name)
    };
    let roots = Site::new();
    roots.kill_one(1);
    let links = [
        link(".tmpshim-j00000000000000000000000000000000", &roots.journal()),
        link("run-0123456789abcdef", &roots.state()),
    ];
    let output = site.sweep(&["--json"]);
    let all = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(events(&all, "left").len(), 1, "the link that stands for a journal");
    assert_eq!(events(&all, "removed").len(), 1, "the other one went with the forged journal");
    assert_eq!(names(&roots.work()).len(), 1);
    for link in links {
        fs::remove_file(link).unwrap();
    }
    site.assert_clean();
    fs::remove_dir(site.state()).unwrap();
    symlink(roots.state(), site.state()).unwrap();
    assert_eq!(site.sweep(&[]).status.code(), Some(1));
    assert_eq!(names(&roots.work()).len(), 1);
    fs::remove_file(site.state()).unwrap();
    assert!(roots.sweep(&[]).status.success());
    roots.assert_clean();
}

/// With a /dev/shm and a /run of its own, so that nobody else's state is touched.
const OTHERS: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
chmod 1777 /dev/shm
user() { setpriv --reuid=7001 --regid=7001 --clear-groups env "$@"; }
mkdir -p /run/user/7001 /run/user/7002
chown 7001:7001 /run/user/7001 "$WORK"
LD_PRELOAD=$LIBRARY user "$VICTIM" "$WORK/victim-XXXXXX" killed 1 || true
LD_PRELOAD=$LIBRARY user XDG_RUNTIME_DIR=/run/user/7001 "$VICTIM" "$WORK/victim-XXXXXX" killed 1 || true
# What root left is another sweep's, and no user can lead root there.
LD_PRELOAD=$LIBRARY TMPSHIM_STATE_DIR=/dev/shm/roots "$VICTIM" "$ROOTS/victim-XXXXXX" killed 1 || true
chown 7002:7002 /run/user/7002
ln -s /dev/shm/roots /run/user/7002/tmpshim
ln -s /dev/shm/roots /dev/shm/tmpshim-7002
test "$(ls "$WORK" | wc -l)" = 2
"$TMPSHIM" sweep --json
test "$(ls "$ROOTS" | wc -l)" = 1
test -z "$(ls -A /dev/shm/tmpshim-7001 /run/user/7001/tmpshim | grep tmpshim-j)"
"#;

#[test]
fn d5_root_finds_the_usual_places_of_others() {
    if !is_root("sweeping for others") {
        return;
    }
    let site = Site::new();
    let roots = site.root.path().join("roots");
    fs::create_dir(&roots).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", OTHERS]).env("WORK", site.work()).env("ROOTS", &roots);
    command.env("VICTIM", tool("victim")).env("LIBRARY", tool("libtmpshim.so")).env("TMPSHIM", TMPSHIM);
    command.env_remove("TMPSHIM_STATE_DIR").env_remove("XDG_RUNTIME_DIR");
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches(r#""event":"removed""#).count(), 2, "{said}");
    assert_eq!(said.matches(r#""uid":7001"#).count(), 2, "{said}");
    assert!(names(&site.work()).is_empty());
}
