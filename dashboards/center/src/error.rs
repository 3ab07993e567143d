//! What the API answers when it does not do what was asked: a status, a code, and words in both languages.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use center_casebook::Refusal;
use serde_json::json;

use crate::store::Words;

/// Why not.
#[derive(Debug)]
pub enum ApiError {
    /// Nobody is logged in, or the token is not known.
    LoginRequired,
    /// Wrong name, password or set-up code.
    WrongCredentials,
    /// Too many wrong passwords: not before this many seconds.
    Locked {
        /// Seconds left.
        seconds: i64,
    },
    /// The change did not bring the session's CSRF token.
    Csrf,
    /// The role may not.
    Forbidden,
    /// Does not exist, at least not for the asker.
    NotFound,
    /// Something about the request is wrong: code and words.
    Invalid(&'static str, Words),
    /// Not what this route reads at all: code and words.
    Malformed(&'static str, Words),
    /// The casebook refuses.
    Refused(Refusal),
    /// It exists already.
    Conflict(&'static str, Words),
    /// It was erased by a logged act: when (civil ms) and why.
    Erased(i64, String),
    /// Too large.
    TooLarge,
    /// Not now: again after so many seconds.
    Busy {
        /// Seconds, different for each caller so that they do not come back in step.
        seconds: u64,
    },
    /// Our own failure. The cause is logged here, not sent.
    Internal(anyhow::Error),
}

/// Words in both languages.
pub fn words(zh: &str, en: &str) -> Words {
    Words { zh: zh.to_owned(), en: en.to_owned() }
}

impl ApiError {
    /// A request that cannot be understood.
    pub fn invalid(code: &'static str, zh: &str, en: &str) -> Self {
        Self::Invalid(code, words(zh, en))
    }

    /// Status, code and words.
    pub fn parts(&self) -> (StatusCode, &'static str, Words) {
        match self {
            Self::LoginRequired => {
                (StatusCode::UNAUTHORIZED, "login_required", words("请先登录。", "Log in first."))
            }
            Self::WrongCredentials => (
                StatusCode::UNAUTHORIZED,
                "wrong_credentials",
                words("用户名、密码或初始化码不正确。", "Wrong user name, password or set-up code."),
            ),
            Self::Locked { seconds } => {
                let minutes = (seconds + 59) / 60;
                let zh = format!("密码错误次数过多，请{minutes}分钟后再试。");
                let en = format!("Too many wrong passwords. Try again in {minutes} min.");
                (StatusCode::TOO_MANY_REQUESTS, "locked", Words { zh, en })
            }
            Self::Csrf => (
                StatusCode::FORBIDDEN,
                "csrf",
                words("页面已过期，请刷新后再试。", "The page is out of date. Reload it."),
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                words("您的角色不能执行此操作。", "Your role may not do this."),
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", words("未找到。", "Not found.")),
            Self::Invalid(code, words) => (StatusCode::UNPROCESSABLE_ENTITY, code, words.clone()),
            Self::Malformed(code, words) => (StatusCode::BAD_REQUEST, code, words.clone()),
            Self::Conflict(code, words) => (StatusCode::CONFLICT, code, words.clone()),
            Self::Refused(refusal) => {
                let status = match refusal {
                    Refusal::Role | Refusal::OtherInstitution | Refusal::SamePerson => StatusCode::FORBIDDEN,
                    Refusal::NoCase => StatusCode::NOT_FOUND,
                    Refusal::NotYet => StatusCode::NOT_IMPLEMENTED,
                    Refusal::Stale
                    | Refusal::State
                    | Refusal::AcknowledgeFirst
                    | Refusal::NeedsPass
                    | Refusal::Closed
                    | Refusal::OtherWindow
                    | Refusal::AlertKnown => StatusCode::CONFLICT,
                    Refusal::ReasonRequired
                    | Refusal::TextRequired
                    | Refusal::TooLong
                    | Refusal::RecipientRequired
                    | Refusal::DeadlinePast
                    | Refusal::TooManyAttachments
                    | Refusal::AttachmentMissing => StatusCode::UNPROCESSABLE_ENTITY,
                };
                (status, refusal.code(), refusal.text().into())
            }
            Self::Erased(_, reason) => (
                StatusCode::GONE,
                "erased",
                Words {
                    zh: format!("已依记录在案的操作删除：{reason}"),
                    en: format!("Erased by a logged act: {reason}"),
                },
            ),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", words("内容过大。", "The content is too large."))
            }
            Self::Busy { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                words("中心繁忙，请稍后再试。", "The center is busy. Try again later."),
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                words("中心内部错误，操作未完成。", "Something failed at the center; nothing was changed."),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, words) = self.parts();
        if let Self::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "a request failed");
        }
        let mut response =
            (status, Json(json!({ "code": code, "zh": words.zh, "en": words.en }))).into_response();
        if let Self::Busy { seconds } = self {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
