//! The routes: what comes in is checked, the tables are asked, and what goes out is JSON.

use actix_pg::{Connection, OrNotFound};
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};

use crate::comments::{self, Comment, NewComment};
use crate::error::ApiError;
use crate::input::Faults;
use crate::posts::{self, NewPost, Post, Summary};

const PAGE: i64 = 20;
const LARGEST_PAGE: i64 = 100;

type Answer<T> = Result<web::Json<T>, ApiError>;

/// The next page begins before the last post of this one. Counting rows (`OFFSET`) would read all that it leaves out.
#[derive(Deserialize)]
struct Page {
    before: Option<i64>,
    limit: Option<i64>,
}

#[get("/posts")]
pub(crate) async fn list(page: web::Query<Page>, conn: Connection) -> Answer<Vec<Summary>> {
    let limit = page.limit.unwrap_or(PAGE);
    Faults::none().number("limit", limit, 1..=LARGEST_PAGE).check()?;
    Ok(web::Json(posts::newest(&conn, page.before, limit).await?))
}

#[derive(Serialize)]
struct WithComments {
    #[serde(flatten)]
    post: Post,
    comments: Vec<Comment>,
}

#[get("/posts/{id}")]
pub(crate) async fn show(id: web::Path<i64>, conn: Connection) -> Answer<WithComments> {
    let post = posts::find(&conn, *id).await?.or_not_found()?;
    let comments = comments::of(&conn, &[post.id]).await?;
    Ok(web::Json(WithComments { post, comments }))
}

#[post("/posts")]
pub(crate) async fn write(post: web::Json<NewPost>, conn: Connection) -> Result<HttpResponse, ApiError> {
    post.check()?;
    let post = posts::write(&conn, &post).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/posts/{}", post.id))).json(post))
}

#[post("/posts/{id}/comments")]
pub(crate) async fn comment(
    id: web::Path<i64>,
    comment: web::Json<NewComment>,
    conn: Connection,
) -> Result<HttpResponse, ApiError> {
    comment.check()?;
    Ok(HttpResponse::Created().json(comments::write(&conn, *id, &comment).await?))
}
