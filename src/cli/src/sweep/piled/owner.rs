//! Users' names, from /etc/passwd: this command is static, and has no other way to ask.

use std::collections::HashMap;
use std::fs;

/// The number of a user that was given by name or number.
///
/// # Errors
/// That there is none, for people.
pub(crate) fn parse(user: &str) -> Result<u32, String> {
    // u32::MAX means "no change" to chown(2) and is nobody's.
    if let Some(uid) = user.parse().ok().filter(|&uid| uid != u32::MAX) {
        return Ok(uid);
    }
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = entries(&table).find(|(name, _)| *name == user).map(|(_, uid)| uid);
    found.ok_or_else(|| "no user of that name in /etc/passwd; give the number (id -u NAME)".into())
}

/// Names by number, the first where there is more than one.
pub(super) fn names() -> HashMap<u32, String> {
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = HashMap::new();
    for (name, uid) in entries(&table) {
        names.entry(uid).or_insert_with(|| name.to_owned());
    }
    names
}

fn entries(table: &str) -> impl Iterator<Item = (&str, u32)> {
    table.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_number() {
        assert_eq!(parse("root"), Ok(0));
        assert_eq!(parse("4711"), Ok(4711));
        assert!(parse("no-such-user").unwrap_err().contains("id -u"));
        assert!(parse("4294967295").is_err() && parse("-1").is_err() && parse("").is_err());
        let table = "root:x:0:0:r:/root:/bin/sh\n+::::::\nbad\nalso:x:none:\nb:x:7:7::/:\n";
        assert_eq!(entries(table).collect::<Vec<_>>(), [("root", 0), ("b", 7)]);
    }
}
