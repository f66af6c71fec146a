//! Link flags of the library. They are given here and not in RUSTFLAGS, where they would reach build scripts too.
use std::env;
use std::path::Path;

fn main() {
    for flag in [
        // No C runtime start files and no default libraries: what the library imports is what this file lists.
        "-nostartfiles",
        "-nostdlib",
        // glibc only; musl's loader takes this name for itself. Never libgcc_s.
        "-Wl,--no-as-needed,-l:libc.so.6,--as-needed",
        // Every loader that our oldest symbols leave, musl's too, knows DT_GNU_HASH: no second table.
        "-Wl,--hash-style=gnu",
        // Bound at load: a lazily bound call in a signal handler would run the loader there.
        "-Wl,-z,now,-z,relro",
        // A hook that calls another means ours: what another library makes of it has been done by the time we are called,
        // and the loader has four names less to look up in every process.
        "-Wl,-Bsymbolic-functions",
        // Never unloaded: hooks and handlers may be running in any thread.
        "-Wl,-z,nodelete",
        // An undefined symbol, the panic handler's above all, fails the link.
        "-Wl,-z,defs",
        "-Wl,-soname,libtmpshim.so",
        "-Wl,--no-eh-frame-hdr",
        // It would lead to the symbols of a stripped file, which nobody keeps.
        "-Wl,--build-id=none",
    ] {
        println!("cargo:rustc-cdylib-link-arg={flag}");
    }
    let script = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("discard.ld");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{}", script.display());
    println!("cargo:rerun-if-changed={}", script.display());
}
