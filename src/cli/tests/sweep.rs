//! `tmpshim sweep`, `tmpshim ps`, and what `tmpshim run` cleans up, on programs that were killed (D5, D6, T5).

#[path = "sweep/elsewhere.rs"]
mod elsewhere;
#[path = "sweep/forged.rs"]
mod forged;
#[path = "sweep/hostile.rs"]
mod hostile;
#[path = "sweep/living.rs"]
mod living;
#[path = "sweep/others.rs"]
mod others;
mod rights;
#[path = "sweep/run.rs"]
mod run;
#[path = "sweep/site.rs"]
mod site;
mod sweeping;
#[path = "sweep/told.rs"]
mod told;
mod waiting;
