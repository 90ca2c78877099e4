//! The table `comments`.

use actix_pg::{FromRow, GenericClient, Result};
use async_graphql::SimpleObject;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::input::Faults;

const LONGEST_NAME: usize = 100;
const LONGEST_TEXT: usize = 2_000;

/// What somebody has to say to a post.
#[derive(Debug, Clone, FromRow, Serialize, SimpleObject)]
pub(crate) struct Comment {
    id: i64,
    pub(crate) post_id: i64,
    author: String,
    text: String,
}

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewComment {
    author: String,
    text: String,
}

impl NewComment {
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        Faults::none()
            .text("author", &self.author, LONGEST_NAME)
            .text("text", &self.text, LONGEST_TEXT)
            .check()
    }
}

/// Returns the comments on all of these posts with one statement. One for each post would be N + 1.
pub(crate) async fn of(db: &impl GenericClient, posts: &[i64]) -> Result<Vec<Comment>> {
    let sql = "SELECT id, post_id, author, text FROM comments WHERE post_id = ANY($1) ORDER BY id";
    db.query_as(sql, &[&posts]).await
}

/// Returns the newest comments of the blog.
pub(crate) async fn newest(db: &impl GenericClient, limit: i64) -> Result<Vec<Comment>> {
    db.query_as("SELECT id, post_id, author, text FROM comments ORDER BY id DESC LIMIT $1", &[&limit]).await
}

/// Writes a comment. The foreign key says whether there is such a post: to look first would be a statement more, and still wrong
/// if the post went in between.
pub(crate) async fn write(db: &impl GenericClient, post: i64, comment: &NewComment) -> Result<Comment> {
    let sql = "INSERT INTO comments (post_id, author, text) VALUES ($1, $2, $3) RETURNING id, post_id, author, text";
    db.query_one_as(sql, &[&post, &comment.author, &comment.text]).await
}
