//! The stream of events, one a second.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_core::Stream;
use tokio::sync::mpsc::Receiver;

use crate::page::private;
use crate::sampler::Sampler;
use crate::viewer;

/// A [server-sent event](https://html.spec.whatwg.org/multipage/server-sent-events.html) a second, from now on.
pub(crate) async fn stream(req: HttpRequest, sampler: web::Data<Sampler>) -> HttpResponse {
    let Some(seat) = sampler.seat() else {
        return private(HttpResponse::ServiceUnavailable()).insert_header(("retry-after", "15")).finish();
    };
    let seen = req.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    private(HttpResponse::Ok())
        .content_type("text/event-stream")
        // A middleware that compresses, and a proxy that collects, would hold events back.
        .insert_header((CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Events(viewer::start(sampler.into_inner(), seat, seen)))
}

/// What a viewer receives.
struct Events(Receiver<Bytes>);

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|event| event.map(Ok))
    }
}
