//! Photos: content-addressed files outside the database, checked before they are kept.

use axum::body::Bytes;
use gateway_wire::{hash, hex, unhex};

use crate::app::App;
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::segments::write_durably;
use crate::store::{AttachmentRow, Scope, accounts, audit};

/// Bytes of one attachment, at most; larger is refused.
pub const ATTACHMENT_MAX: usize = 8 << 20;

/// The media type that the first bytes show; what they do not show is not kept.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Keeps an attachment of a person. `named` is the SHA-256 they say it has, hex.
pub async fn put(
    app: &App,
    viewer: &Viewer,
    named: Option<&str>,
    bytes: Bytes,
) -> Result<AttachmentRow, ApiError> {
    let institution = match viewer.scope() {
        Scope::All => None,
        Scope::Institution(id) => Some(id),
    };
    keep(app, &viewer.user.id, institution.as_deref(), named, bytes).await
}

/// Keeps an attachment. Known ones are not written again.
pub async fn keep(
    app: &App,
    by: &str,
    institution: Option<&str>,
    named: Option<&str>,
    bytes: Bytes,
) -> Result<AttachmentRow, ApiError> {
    if bytes.len() > ATTACHMENT_MAX {
        return Err(ApiError::TooLarge);
    }
    let media_type = sniff(&bytes).ok_or_else(|| {
        ApiError::invalid(
            "media_type",
            "仅支持 JPEG、PNG、WebP 图片。",
            "Only JPEG, PNG and WebP pictures are taken.",
        )
    })?;
    let sha256 = hex(&hash(&bytes));
    if named.is_some_and(|named| !named.eq_ignore_ascii_case(&sha256)) {
        return Err(ApiError::invalid(
            "hash",
            "附件内容与编号不符。",
            "The content is not the one that its name says.",
        ));
    }
    let row = AttachmentRow { sha256, media_type: media_type.to_owned(), bytes: bytes.len() as i64 };
    let path = app.attachments().join(&row.sha256);
    let write = move || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        if path.exists() { Ok(()) } else { write_durably(&path, &bytes) }
    };
    tokio::task::spawn_blocking(write).await.map_err(|error| ApiError::Internal(error.into()))??;
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    accounts::add_attachment(&mut tx, &row, by, institution, now).await?;
    audit::note(&mut tx, now, by, "attachment", &row.sha256).await?;
    tx.commit().await?;
    Ok(row)
}

/// An attachment's type and bytes, if the asker may see it.
pub async fn get(app: &App, scope: &Scope, sha256: &str) -> Result<(AttachmentRow, Vec<u8>), ApiError> {
    // Nothing but a hash ever becomes part of a path.
    let name = hex(&unhex::<32>(sha256).ok_or(ApiError::NotFound)?);
    let row = app.store.attachment(scope, &name).await?.ok_or(ApiError::NotFound)?;
    let path = app.attachments().join(&name);
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path))
        .await
        .map_err(|error| ApiError::Internal(error.into()))??;
    Ok((row, bytes))
}
