//! What the servers are put under.

use crate::app::Route;
use crate::contenders::Contender;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) workers: usize,
    pub(crate) route: Route,
    pub(crate) placement: Placement,
}

/// How the clients' connections are spread over the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// As Actix Web deals them out: one after the other.
    Even,
    /// Seven of eight on the same worker.
    Uneven,
}

impl Load {
    pub(crate) fn all() -> Vec<Self> {
        let users = [2, 1].into_iter().flat_map(|workers| {
            [8, 16, 64, 256].map(|clients| Self {
                name: format!("c{clients}w{workers}"),
                clients,
                workers,
                route: Route::User,
                placement: Placement::Even,
            })
        });
        let others = [
            ("plain", 64, 1, Route::Plain, Placement::Even),
            ("five", 16, 2, Route::Five, Placement::Even),
            ("slow", 64, 2, Route::Slow, Placement::Even),
            ("uneven", 64, 2, Route::User, Placement::Uneven),
            ("tenants", 16, 2, Route::Tenant, Placement::Even),
            ("transaction", 16, 2, Route::Transaction, Placement::Even),
            ("mixed", 64, 2, Route::Mixed, Placement::Even),
            ("dirty", 16, 2, Route::Dirty, Placement::Even),
        ];
        let others = others.map(|(name, clients, workers, route, placement)| Self {
            name: name.to_owned(),
            clients,
            workers,
            route,
            placement,
        });
        users.chain(others).collect()
    }

    pub(crate) fn quick() -> Vec<Self> {
        ["c8w2", "c64w2", "c16w1", "plain", "slow", "uneven"].into_iter().filter_map(Self::named).collect()
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|load| load.name == name)
    }

    /// Whether the contender has this route, and a meaning under this load.
    pub(crate) fn suits(&self, contender: Contender) -> bool {
        match contender {
            Contender::None => self.route == Route::Plain,
            // One slow statement would hold up everybody.
            Contender::Wire => matches!(self.route, Route::User | Route::Five),
            // One worker against one worker.
            Contender::Gino => self.route == Route::User && self.workers == 1,
            Contender::ActixPg => true,
            #[cfg(feature = "observed")]
            Contender::ActixPgObserved => true,
            Contender::Deadpool | Contender::Limit => self.route != Route::Plain,
            _ if matches!(self.route, Route::Tenant | Route::Transaction | Route::Dirty) => false,
            _ => self.route != Route::Plain,
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { clients, workers, .. } = self;
        let route = match self.route {
            Route::User => "one SELECT by primary key",
            Route::Five => "five SELECTs by primary key",
            Route::Slow => "one SELECT that takes 10 ms",
            Route::Tenant => "one SELECT with a setting of the request",
            Route::Transaction => "a transaction of a SELECT and an UPDATE",
            Route::Mixed => "one SELECT by primary key, in one of a hundred requests one that takes 10 ms",
            Route::Dirty => "one SELECT that leaves something on the session",
            Route::Plain => "a route without database",
        };
        let s = if *workers == 1 { "" } else { "s" };
        let placement = match self.placement {
            Placement::Even => "",
            Placement::Uneven => ", seven of eight clients on the same worker",
        };
        format!("{route}, {clients} clients, {workers} worker{s}{placement}")
    }
}
