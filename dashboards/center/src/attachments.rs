//! Photos and rule packs: content-addressed files outside the database, checked before they are kept.
//!
//! A gateway brings them in pieces and goes on where it was cut off ([`part`]). Erasing one is an act of an administrator
//! with a reason: id and hash stay, the bytes go, and nobody can bring them again.

use axum::body::Bytes;
use gateway_wire::{hash, hex, unhex};

use crate::app::App;
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::segments::write_durably;
use crate::store::{AttachmentRow, Scope, accounts, audit};

/// Bytes of one attachment, at most; larger is refused.
pub const ATTACHMENT_MAX: usize = 8 << 20;

/// Attachments of one gateway, at most.
const OF_GATEWAY_MAX: i64 = 10_000;
/// Attachments of one gateway that are half here, at most.
const PARTS_MAX: usize = 16;
/// Bytes of a reason, at most.
const REASON_MAX: usize = 500;

/// What is here of an attachment that a gateway brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// Bytes from its beginning.
    pub offset: u64,
    /// All of it is here, or was erased and is wanted no more.
    pub done: bool,
}

fn part_of(app: &App, gateway: &str, sha256: &str) -> Result<std::path::PathBuf, ApiError> {
    // Nothing but hashes ever becomes part of a path.
    let name = hex(&unhex::<32>(sha256).ok_or(ApiError::NotFound)?);
    Ok(app.attachments().join("parts").join(gateway).join(name))
}

/// How much of an attachment is here.
pub async fn held(app: &App, gateway: &str, sha256: &str) -> Result<Held, ApiError> {
    let path = part_of(app, gateway, sha256)?;
    if let Some(row) = app.store.attachment(&Scope::All, sha256).await? {
        return Ok(Held { offset: row.bytes as u64, done: true });
    }
    let offset = tokio::fs::metadata(&path).await.map_or(0, |part| part.len());
    Ok(Held { offset, done: false })
}

/// Takes the next piece of an attachment in; it is kept when its last byte is here and the whole is what its name says.
pub async fn part(
    app: &App,
    gateway: &crate::store::gateways::Enrolled,
    sha256: &str,
    (offset, length): (u64, u64),
    bytes: Bytes,
) -> Result<(), ApiError> {
    if length > ATTACHMENT_MAX as u64 || offset + bytes.len() as u64 > length {
        return Err(ApiError::TooLarge);
    }
    if app.store.attachments_of(&gateway.id).await? >= OF_GATEWAY_MAX {
        return Err(ApiError::Conflict(
            "too_many",
            crate::error::words(
                "该网关的附件数量已达上限。",
                "This gateway has brought as many attachments as are kept.",
            ),
        ));
    }
    let path = part_of(app, &gateway.id, sha256)?;
    let held = held(app, &gateway.id, sha256).await?;
    if held.done {
        return Ok(());
    }
    if held.offset != offset {
        return Err(ApiError::Conflict(
            "offset",
            crate::error::words("续传位置不符。", "Go on where the center has it: ask for its offset."),
        ));
    }
    let whole = offset + bytes.len() as u64 == length;
    let target = path.clone();
    let append = move || -> std::io::Result<Option<Vec<u8>>> {
        use std::io::Write as _;
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
            let full = offset == 0 && std::fs::read_dir(folder)?.count() >= PARTS_MAX;
            if full {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::QuotaExceeded,
                    "too many halves of attachments",
                ));
            }
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&target)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        whole.then(|| std::fs::read(&target)).transpose()
    };
    let all =
        tokio::task::spawn_blocking(append).await.map_err(|error| ApiError::Internal(error.into()))??;
    if let Some(all) = all {
        let kept = keep(app, &gateway.id, Some(&gateway.institution), Some(sha256), all.into(), true).await;
        // Kept or not what its name says: either way the pieces have served.
        tokio::fs::remove_file(&path).await?;
        kept?;
    }
    Ok(())
}

/// Erases the bytes of an attachment; that it was there, and its hash, stay.
pub async fn erase(app: &App, viewer: &Viewer, sha256: &str, reason: &str) -> Result<(), ApiError> {
    viewer.admin()?;
    let name = hex(&unhex::<32>(sha256).ok_or(ApiError::NotFound)?);
    if reason.trim().is_empty() || reason.len() > REASON_MAX {
        return Err(ApiError::invalid("reason", "请填写删除理由。", "Say why it is erased."));
    }
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    if !accounts::erase_attachment(&mut tx, &name, now, reason.trim()).await? {
        return Err(ApiError::NotFound);
    }
    audit::note(&mut tx, now, &viewer.user.id, "erase_attachment", &format!("{name} {}", reason.trim()))
        .await?;
    tx.commit().await?;
    // Said before it is done: were it the other way round, a crash between would look like a loss.
    match tokio::fs::remove_file(app.attachments().join(&name)).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

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
    keep(app, &viewer.user.id, institution.as_deref(), named, bytes, false).await
}

/// A rule pack is text; whether it is one that a record names shows when a bundle looks for it.
fn is_pack(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0') && text.parse::<toml::Table>().is_ok())
}

/// Keeps an attachment. Known ones are not written again.
pub async fn keep(
    app: &App,
    by: &str,
    institution: Option<&str>,
    named: Option<&str>,
    bytes: Bytes,
    packs: bool,
) -> Result<AttachmentRow, ApiError> {
    if bytes.len() > ATTACHMENT_MAX {
        return Err(ApiError::TooLarge);
    }
    let pack = || (packs && is_pack(&bytes)).then_some("application/toml");
    let media_type = sniff(&bytes).or_else(pack).ok_or_else(|| {
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
    let row =
        AttachmentRow { sha256, media_type: media_type.to_owned(), bytes: bytes.len() as i64, erased: None };
    if let Some((at, reason)) =
        app.store.attachment(&Scope::All, &row.sha256).await?.and_then(|known| known.erased)
    {
        return Err(ApiError::Erased(at, reason));
    }
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
    if let Some((at, reason)) = &row.erased {
        return Err(ApiError::Erased(*at, reason.clone()));
    }
    let path = app.attachments().join(&name);
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path))
        .await
        .map_err(|error| ApiError::Internal(error.into()))??;
    Ok((row, bytes))
}
