//! What can go wrong, and what the client is told of it. The cause is for the log.

use std::collections::BTreeMap;
use std::fmt;

use actix_pg::tokio_postgres::error::SqlState;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

/// Everything that a handler or a resolver may fail with.
#[derive(Debug)]
pub(crate) enum ApiError {
    NoTenant,
    /// The request cannot be read.
    Request(StatusCode, String),
    /// It can, and these fields of it will not do.
    Fields(BTreeMap<&'static str, String>),
    TitleTaken,
    NotFound,
    Database(actix_pg::Error),
}

/// What the database refuses because of the request is the client's affair, all else ours. It is logged here, once, because REST and
/// GraphQL both pass by.
impl From<actix_pg::Error> for ApiError {
    fn from(err: actix_pg::Error) -> Self {
        match (err.code(), err.constraint()) {
            (Some(&SqlState::UNIQUE_VIOLATION), Some("posts_title_is_free")) => Self::TitleTaken,
            (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some("comments_have_a_post")) => Self::NotFound,
            _ if matches!(err, actix_pg::Error::NotFound) => Self::NotFound,
            _ => {
                err.log();
                Self::Database(err)
            }
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTenant => "the header x-tenant has to name one blog: 1 to 32 of a-z, 0-9 and -",
            Self::Request(_, reason) => reason,
            Self::Fields(_) => "some fields will not do",
            Self::TitleTaken => "there is a post with that title",
            Self::NotFound => "there is nothing here",
            Self::Database(err) if err.is_unavailable() => "try again in a moment",
            Self::Database(_) => "something went wrong",
        })
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoTenant => StatusCode::UNAUTHORIZED,
            Self::Request(status, _) => *status,
            Self::Fields(_) => StatusCode::BAD_REQUEST,
            Self::TitleTaken => StatusCode::CONFLICT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(err) => err.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Self::Database(err) = self
            && let Some(pause) = err.retry_after()
        {
            response.insert_header((RETRY_AFTER, pause.as_secs()));
        }
        match self {
            Self::Fields(fields) => response.json(json!({ "error": self.to_string(), "fields": fields })),
            _ => response.json(json!({ "error": self.to_string() })),
        }
    }
}
