//! The command line, as plain data.

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The library alone, by LD_PRELOAD; what SIGKILL leaves is swept at the end.
    Preload,
    /// `tmpshim run --engine preload`
    Keeper,
    /// `tmpshim run --engine notify`
    Notify,
    /// `tmpshim run --engine trace`
    Trace,
    /// `tmpshim run`: supervisor and library.
    Auto,
    /// Nothing: on tmpfs, whether the model is right about the kernel.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Filesystem {
    Bindfs,
    FuseOverlayfs,
    Tmpfs,
    /// tmpfs, with TMPSHIM_TMPFILE=always.
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Reach {
    Glibc,
    Musl,
    Static,
}

pub(crate) fn name<T: ValueEnum + Copy>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Runs random programs under all engines, and compares what is left of each with what a model says must be left.
///
/// Exit codes: 0 all as the model says; 1 something was not, and a line says how to do it again; 2 wrong usage, or it cannot
/// run here.
#[derive(Clone, Debug, Parser)]
#[command(name = "scripts/chaos")]
pub(crate) struct Arguments {
    /// For so long [default: 60]
    pub(crate) seconds: Option<u64>,
    /// Until so many operations have been carried out
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) operations: Option<u64>,
    /// Only the program of this seed
    #[arg(long, conflicts_with_all = ["seconds", "operations", "first"])]
    pub(crate) seed: Option<u64>,
    /// Begin with this seed [default: by the clock]
    #[arg(long)]
    pub(crate) first: Option<u64>,
    /// Only this engine
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
    /// Only on this filesystem
    #[arg(long)]
    pub(crate) filesystem: Option<Filesystem>,
    /// Only programs that are built so
    #[arg(long)]
    pub(crate) reach: Option<Reach>,
    /// Print the program and do not run it
    #[arg(long, requires = "seed")]
    pub(crate) print: bool,
    /// Run the program of a seed so often
    #[arg(long, requires = "seed", default_value_t = 1)]
    pub(crate) times: u32,
    /// Do not look for a shorter program that shows the same
    #[arg(long)]
    pub(crate) no_shrink: bool,
    /// Break something on purpose: it must be noticed
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(["shim", "cleanup", "tmpfile", "sweep"]))]
    pub(crate) broken: Option<String>,
    /// How many programs run at once
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u64,
    /// Which of them this process is, and where; for the workers themselves
    #[arg(long, hide = true)]
    pub(crate) worker: Option<u64>,
    #[arg(long, hide = true)]
    pub(crate) scratch: Option<std::path::PathBuf>,
}
