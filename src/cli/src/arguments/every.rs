//! `--every AGE`, of the commands that go on.

use std::time::Duration;

use clap::{Arg, ArgMatches};

/// The flag.
pub(super) fn flag(help: &'static str) -> Arg {
    Arg::new("every").long("every").value_name("AGE").value_parser(interval).help(help)
}

/// Its value.
pub(super) fn parsed(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one("every").copied()
}

fn interval(text: &str) -> Result<Duration, String> {
    let wanted = "give a number and a unit, as in 30s, 10m or 1h; at least 1s";
    let interval = humantime::parse_duration(text).map_err(|error| format!("{error}; {wanted}"))?;
    if interval < Duration::from_secs(1) { Err(wanted.to_owned()) } else { Ok(interval) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_lasts_a_second_at_least() {
        assert_eq!(interval("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["", "10", "0s", "999ms", "-1m", "m", "1y1"] {
            assert!(interval(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }
}
