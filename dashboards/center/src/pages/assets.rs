//! Style sheet, script and icon, inside the binary. Names hold a hash of the content, so that a browser may keep
//! them for ever and a new version is fetched at once.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static [u8],
    hash: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |name, media_type, content: &'static [u8]| {
        let hash = Sha256::digest(content)
            .iter()
            .take(8)
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Asset { name, media_type, content, hash }
    };
    vec![
        asset("console.css", "text/css; charset=utf-8", include_bytes!("../../assets/console.css")),
        asset("console.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/console.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
    ]
});

/// Where a page finds an asset: `/assets/<hash>/console.css`.
pub(crate) fn link(name: &str) -> String {
    let hash = ASSETS.iter().find(|asset| asset.name == name).map_or("none", |asset| asset.hash.as_str());
    format!("/assets/{hash}/{name}")
}

/// Answers for `/assets/{hash}/{name}`.
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", asset.hash);
    let fields = [
        (header::CONTENT_TYPE, asset.media_type.to_owned()),
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> &'static str {
        let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
        std::str::from_utf8(asset.content).unwrap()
    }

    #[test]
    fn nothing_is_fetched_from_anywhere_else() {
        for name in ["console.css", "console.js"] {
            assert!(
                !text(name).contains("http:") && !text(name).contains("https:"),
                "{name} names another host"
            );
            assert!(!text(name).contains("@import"));
        }
    }

    #[test]
    fn a_link_changes_with_the_content_and_an_unknown_name_leads_nowhere() {
        assert!(link("console.css").starts_with("/assets/") && link("console.css").len() > 30);
        assert!(link("other.css").contains("/none/"));
    }
}
