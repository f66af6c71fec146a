//! `tmpshim doctor` on real filesystems, programs and processes: what it finds, what it ends with, and that it leaves
//! nothing. Everything it prints is checked against docs/doctor.schema.json.

#[path = "doctor/directories.rs"]
mod directories;
#[path = "doctor/document.rs"]
mod document;
#[path = "doctor/filesystems.rs"]
mod filesystems;
#[path = "doctor/ground.rs"]
mod ground;
#[path = "doctor/interrupted.rs"]
mod interrupted;
#[path = "doctor/processes.rs"]
mod processes;
#[path = "doctor/programs.rs"]
mod programs;
#[path = "../src/demo/refusal.rs"]
mod refusal;
#[path = "doctor/report.rs"]
mod report;
mod rights;
#[path = "doctor/system.rs"]
mod system;
mod waiting;
