//! The table `posts`. No statement names the tenant: the policies of the database do, also for the statement that somebody forgets.

use actix_pg::{FromRow, GenericClient, Result};
use async_graphql::SimpleObject;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::input::Faults;

const LONGEST_TITLE: usize = 200;
const LONGEST_BODY: usize = 20_000;

/// What somebody has written.
#[derive(Debug, Clone, FromRow, Serialize, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Post {
    pub(crate) id: i64,
    pub(crate) title: String,
    body: String,
}

/// A line of the list.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Summary {
    id: i64,
    title: String,
    comments: i64,
}

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPost {
    title: String,
    body: String,
}

impl NewPost {
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        Faults::none()
            .text("title", &self.title, LONGEST_TITLE)
            .text("body", &self.body, LONGEST_BODY)
            .check()
    }
}

/// Returns the newest posts, older than `before`. One statement, with the number of comments of each.
pub(crate) async fn newest(db: &impl GenericClient, before: Option<i64>, limit: i64) -> Result<Vec<Summary>> {
    let sql = "SELECT id, title, (SELECT count(*) FROM comments WHERE post_id = posts.id) AS comments
        FROM posts WHERE id < coalesce($1, 9223372036854775807) ORDER BY id DESC LIMIT $2";
    db.query_as(sql, &[&before, &limit]).await
}

/// Returns the newest posts, whole.
pub(crate) async fn newest_whole(db: &impl GenericClient, limit: i64) -> Result<Vec<Post>> {
    db.query_as("SELECT id, title, body FROM posts ORDER BY id DESC LIMIT $1", &[&limit]).await
}

pub(crate) async fn find(db: &impl GenericClient, id: i64) -> Result<Option<Post>> {
    db.query_opt_as("SELECT id, title, body FROM posts WHERE id = $1", &[&id]).await
}

pub(crate) async fn write(db: &impl GenericClient, post: &NewPost) -> Result<Post> {
    let sql = "INSERT INTO posts (title, body) VALUES ($1, $2) RETURNING id, title, body";
    db.query_one_as(sql, &[&post.title, &post.body]).await
}
