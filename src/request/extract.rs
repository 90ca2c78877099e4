//! The extractors.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::request_connections::RequestConnections;
use super::{Connection, ReadConnection, RequestTransaction};
use crate::{Error, Result};

impl<D: 'static> FromRequest for Connection<D> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(req))
    }
}

impl<D: 'static> FromRequest for ReadConnection<D> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(req))
    }
}

impl<D: 'static> FromRequest for RequestTransaction<D> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let database = RequestConnections::database::<D>(req);
        ready(database.map(|database| Self::new(RequestConnections::transaction_of(req, database))))
    }
}

/// What [`FromRequest`] has, for a type without a name of a database. In a path, as in `Connection::extract(&req)`, the default of a
/// parameter has no say. Only the `impl` for one type tells the compiler which is meant.
macro_rules! by_path {
    ($type:ty) => {
        #[doc(hidden)]
        impl $type {
            pub fn from_request(req: &HttpRequest, payload: &mut Payload) -> Ready<Result<Self>> {
                <Self as FromRequest>::from_request(req, payload)
            }

            pub fn extract(req: &HttpRequest) -> Ready<Result<Self>> {
                <Self as FromRequest>::extract(req)
            }
        }
    };
}

by_path!(Connection);
by_path!(ReadConnection);
by_path!(RequestTransaction);
