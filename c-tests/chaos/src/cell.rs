//! In which ways a program is run: engine, filesystem, and how the interpreter was built.

use std::fmt;

use crate::arguments::{Arguments, Engine, Filesystem, Reach, name};
use crate::model::Rules;
use crate::script::Program;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) engine: Engine,
    pub(crate) filesystem: Filesystem,
    pub(crate) reach: Reach,
}

impl Cell {
    /// Those that the command line asks for.
    pub(crate) fn chosen(arguments: &Arguments) -> Vec<Self> {
        let mut cells = vec![];
        for filesystem in [Filesystem::Always, Filesystem::Bindfs, Filesystem::FuseOverlayfs, Filesystem::Tmpfs] {
            for (engine, reach) in [
                (Engine::Preload, Reach::Glibc),
                (Engine::Notify, Reach::Static),
                (Engine::Trace, Reach::Static),
                (Engine::Preload, Reach::Musl),
                (Engine::Auto, Reach::Glibc),
                (Engine::Keeper, Reach::Glibc),
                (Engine::None, Reach::Static),
            ] {
                // What has no O_TMPFILE, or no engine that is to stand in, shows nothing about the model.
                if engine == Engine::None && filesystem != Filesystem::Tmpfs {
                    continue;
                }
                let is_asked_for = arguments.engine.is_none_or(|asked| asked == engine)
                    && arguments.filesystem.is_none_or(|asked| asked == filesystem)
                    && arguments.reach.is_none_or(|asked| asked == reach);
                if is_asked_for {
                    cells.push(Self { engine, filesystem, reach });
                }
            }
        }
        cells
    }

    pub(crate) fn rules(self) -> Rules {
        Rules {
            removes: self.engine != Engine::None,
            at_once: matches!(self.engine, Engine::Preload | Engine::Keeper | Engine::Auto),
            supervised: matches!(self.engine, Engine::Keeper | Engine::Notify | Engine::Trace | Engine::Auto),
            hides: self.filesystem == Filesystem::Bindfs,
        }
    }

    /// Whether the program comes to an end so. In musl 1.2.3, fork of one thread has the loader's lock and waits for that of
    /// atexit's list, and exit of another has that one and waits for the loader's: seen without tmpshim, every few tries.
    pub(crate) fn is_for(self, program: &Program) -> bool {
        self.reach != Reach::Musl || !program.forks_while_it_ends()
    }

    /// Whether lists may be cut off: without an engine nothing would tell what is left of them.
    pub(crate) fn is_wild(self) -> bool {
        self.engine != Engine::None
    }
}

/// As flags that ask for this one.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (engine, filesystem, reach) = (name(self.engine), name(self.filesystem), name(self.reach));
        write!(f, "--engine {engine} --filesystem {filesystem} --reach {reach}")
    }
}
