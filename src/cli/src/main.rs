//! tmpshim
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libtmpshim.so"));
fn main() { println!("{}", LIBRARY.len()); }
