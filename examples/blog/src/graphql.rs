//! GraphQL. The resolvers of a request run at the same time, on its one connection: their statements go out one behind the other,
//! and nobody waits for a second session.

use std::collections::HashMap;
use std::sync::Arc;

use actix_pg::Connection;
use actix_web::{post, rt, web};
use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{ComplexObject, Context, EmptyMutation, EmptySubscription, Object, Request, Result};
use async_graphql_actix_web::GraphQLResponse;

use crate::comments::{self, Comment};
use crate::error::ApiError;
use crate::posts::{self, Post};

pub(crate) type Schema = async_graphql::Schema<Query, EmptyMutation, EmptySubscription>;

/// A query that asks for more is refused before it costs anything.
const DEEPEST: usize = 8;
const MOST_COMPLEX: usize = 200;

/// The schema knows of no database. Each request brings its connection along, so a resolver cannot see another tenant's rows.
pub(crate) fn schema() -> Schema {
    Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(DEEPEST)
        .limit_complexity(MOST_COMPLEX)
        .finish()
}

/// `web::Json` and not async-graphql's extractor, which reads a body of any size.
#[post("/graphql")]
pub(crate) async fn answer(
    schema: web::Data<Schema>,
    request: web::Json<Request>,
    conn: Connection,
) -> GraphQLResponse {
    let comments = DataLoader::new(CommentsOf(conn.clone()), rt::spawn);
    schema.execute(request.into_inner().data(conn).data(comments)).await.into()
}

#[derive(Debug)]
pub(crate) struct Query;

#[Object]
impl Query {
    /// The newest posts.
    async fn posts(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, validator(minimum = 1, maximum = 100))] first: i64,
    ) -> Result<Vec<Post>> {
        Ok(posts::newest_whole(ctx.data::<Connection>()?, first).await.map_err(ApiError::from)?)
    }

    /// The newest comments of the blog.
    async fn comments(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, validator(minimum = 1, maximum = 100))] first: i64,
    ) -> Result<Vec<Comment>> {
        Ok(comments::newest(ctx.data::<Connection>()?, first).await.map_err(ApiError::from)?)
    }

    /// One post.
    async fn post(&self, ctx: &Context<'_>, id: i64) -> Result<Option<Post>> {
        Ok(posts::find(ctx.data::<Connection>()?, id).await.map_err(ApiError::from)?)
    }
}

#[ComplexObject]
impl Post {
    /// What others have said to it. Asked for 20 posts, this is one statement.
    async fn comments(&self, ctx: &Context<'_>) -> Result<Vec<Comment>> {
        let loader = ctx.data::<DataLoader<CommentsOf>>()?;
        Ok(loader.load_one(self.id).await?.unwrap_or_default())
    }
}

/// Collects the posts whose comments are wanted, and asks for all of them at once.
struct CommentsOf(Connection);

impl Loader<i64> for CommentsOf {
    type Value = Vec<Comment>;
    type Error = Arc<ApiError>;

    async fn load(&self, posts: &[i64]) -> Result<HashMap<i64, Vec<Comment>>, Arc<ApiError>> {
        let mut of: HashMap<i64, Vec<Comment>> = HashMap::new();
        for comment in comments::of(&self.0, posts).await.map_err(ApiError::from)? {
            of.entry(comment.post_id).or_default().push(comment);
        }
        Ok(of)
    }
}
