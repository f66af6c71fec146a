//! S4: `tmpshim run` is a good parent under every engine, as PID 1 too. The programs are parent.c's; what they find and do
//! without us is the measure.

#[path = "parent/inherited.rs"]
mod inherited;
#[path = "parent/jobs.rs"]
mod jobs;
#[path = "parent/outliving.rs"]
mod outliving;
#[path = "parent/processes.rs"]
mod processes;
#[path = "parent/program.rs"]
mod program;
mod rights;
#[path = "parent/signals.rs"]
mod signals;
#[path = "parent/stage.rs"]
mod stage;
#[path = "parent/statuses.rs"]
mod statuses;
mod terminal;
mod waiting;
