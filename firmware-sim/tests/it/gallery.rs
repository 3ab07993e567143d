//! The committed gallery is the generated one.

use std::path::Path;

use firmware_sim::plot::gallery;

/// Bytes of a picture at most: a page of them has to open at once.
const PICTURE_MAX: usize = 60_000;

#[test]
fn the_gallery_in_docs_is_what_the_scenarios_give() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let files = gallery::files().unwrap();
    for (name, content) in &files {
        assert!(
            !name.starts_with("gallery/") || content.len() <= PICTURE_MAX,
            "{name} has {} bytes",
            content.len()
        );
        let committed = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
        assert!(committed == *content, "docs/{name} is old: run `cargo run -p firmware-sim -- gallery docs`");
    }
    let pictures = std::fs::read_dir(docs.join("gallery")).unwrap().count();
    assert_eq!(pictures, files.len() - 1, "a picture of no scenario lies in docs/gallery");
}
