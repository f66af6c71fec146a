//! Link flags of the parasite. They are given here and not in RUSTFLAGS, where they would reach build scripts too.
use std::env;
use std::path::Path;

fn main() {
    for flag in [
        // Nothing is loaded with it: whatever it needs is in it.
        "-nostartfiles",
        "-nostdlib",
        "-Wl,-e,tmpshim_parasite",
        // An undefined symbol, the panic handler's above all, fails the link.
        "-Wl,-z,defs",
        // One flat image: where its addresses are known, all that the linker may have to fill in is filled in once.
        "-Wl,-z,now,-z,relro,-z,noseparate-code,-z,max-page-size=4096",
        "-Wl,-Bsymbolic",
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--build-id=none",
    ] {
        println!("cargo:rustc-cdylib-link-arg={flag}");
    }
    let script = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("discard.ld");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{}", script.display());
    println!("cargo:rerun-if-changed={}", script.display());
}
