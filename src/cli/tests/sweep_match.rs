//! `tmpshim sweep --match`: what piled up goes, and what anybody uses does not (D6).

#[path = "sweep_match/asked.rs"]
mod asked;
#[path = "sweep_match/attacked.rs"]
mod attacked;
#[path = "sweep_match/mounted.rs"]
mod mounted;
#[path = "sweep_match/named.rs"]
mod named;
#[path = "sweep_match/owners.rs"]
mod owners;
mod rights;
#[path = "sweep_match/site.rs"]
mod site;
mod sweeping;
mod terminal;
#[path = "sweep_match/used.rs"]
mod used;
mod waiting;
