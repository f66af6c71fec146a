//! Laying it out for an address, and what is refused.

use tmpshim_supervise::trace::image::Image;

use super::PARASITE;

#[test]
fn s_a_file_that_would_need_more_than_bytes_is_refused() {
    let library = include_bytes!(concat!(env!("OUT_DIR"), "/libtmpshim.so"));
    assert_eq!(
        Image::parse(library).unwrap_err().to_string(),
        "the code for the traced engine is damaged: it has variables"
    );
    for length in [0, 10, 64, 200, 4000, PARASITE.len() / 2, PARASITE.len() - 700] {
        assert!(Image::parse(&PARASITE[..length]).is_err(), "{length} bytes");
    }
    let mut other = PARASITE.to_vec();
    other[18] = 3;
    assert!(Image::parse(&other).unwrap_err().to_string().ends_with("it is for another machine"));
    // Never a panic, whatever is damaged.
    for offset in 0..PARASITE.len() {
        let mut damaged = PARASITE.to_vec();
        damaged[offset] ^= 0xff;
        let _ = Image::parse(&damaged).map(|image| image.at(0x7000_0000));
    }
    let image = Image::parse(PARASITE).unwrap();
    assert_eq!(image.length() % 4096, 0);
    assert_ne!(image.at(0x10_0000), image.at(0x20_0000));
}
