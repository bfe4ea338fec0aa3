//! What may be asked: one table, from which everything else about paths and methods follows.

use hyper::Method;

use super::problem::Problem;
use super::query::Parameter;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Token,
    Header,
    Rejected,
    Refresh,
    Authorize,
    Pin,
    Status,
    Statuses,
    AccountEvents,
    Events,
    Metrics,
    Health,
}

/// Under which paths a route is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// `/accounts/NAME/X` for NAME's, `/X` for the default account's.
    Account,
    /// `/accounts/NAME/X` only.
    NamedAccount,
    /// `/X` only: the daemon's own.
    Daemon,
}

/// HEAD goes wherever GET goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
}

/// One line of the table.
pub(super) struct Route {
    verb: Verb,
    whose: Whose,
    path: &'static str,
    /// What the query may say.
    pub(super) parameters: &'static [Parameter],
    pub(super) what: What,
}

const fn route(
    verb: Verb,
    whose: Whose,
    path: &'static str,
    parameters: &'static [Parameter],
    what: What,
) -> Route {
    Route { verb, whose, path, parameters, what }
}

const LEND: &[Parameter] = &[Parameter::MinTtl, Parameter::Wait];

/// All of them, each at the place of what it does.
#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    route(Verb::Get,  Whose::Account,      "token",          LEND,               What::Token),
    route(Verb::Get,  Whose::Account,      "header",         LEND,               What::Header),
    route(Verb::Post, Whose::Account,      "token/rejected", LEND,               What::Rejected),
    route(Verb::Post, Whose::Account,      "refresh",        LEND,               What::Refresh),
    route(Verb::Post, Whose::Account,      "authorize",      &[Parameter::Wait], What::Authorize),
    route(Verb::Get,  Whose::Account,      "pin",            &[],                What::Pin),
    route(Verb::Get,  Whose::NamedAccount, "status",         &[],                What::Status),
    route(Verb::Get,  Whose::Daemon,       "status",         &[],                What::Statuses),
    route(Verb::Get,  Whose::NamedAccount, "events",         &[],                What::AccountEvents),
    route(Verb::Get,  Whose::Daemon,       "events",         &[],                What::Events),
    route(Verb::Get,  Whose::Daemon,       "metrics",        &[],                What::Metrics),
    route(Verb::Get,  Whose::Daemon,       "healthz",        &[],                What::Health),
];

impl Route {
    /// As the metrics name it.
    pub(super) fn name(&self) -> String {
        let of_whom = match self.whose {
            Whose::Account | Whose::Daemon => "",
            Whose::NamedAccount => "/accounts/NAME",
        };
        format!("{of_whom}/{}", self.path)
    }
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET || method == Method::HEAD,
            Self::Post => method == Method::POST,
        }
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

impl Whose {
    fn has(self, name: Option<&str>) -> bool {
        match self {
            Self::Account => true,
            Self::NamedAccount => name.is_some(),
            Self::Daemon => name.is_none(),
        }
    }
}

/// The route of a request, and the account's name if the path has one.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<(&'static Route, Option<&'a str>), Problem> {
    let (name, rest) = match path.strip_prefix("/accounts/") {
        Some(named) => {
            let (name, rest) = named.split_once('/').ok_or_else(Problem::not_found)?;
            (Some(name), rest)
        }
        None => (None, path.strip_prefix('/').ok_or_else(Problem::not_found)?),
    };
    let mut there = ROUTES.iter().filter(|route| route.path == rest && route.whose.has(name));
    match there.clone().find(|route| route.verb.is(method)) {
        Some(route) => Ok((route, name)),
        None => match there.next() {
            // No path answers to two verbs so far; a test says so when that changes.
            Some(other) => Err(Problem::method_not_allowed(other.verb.allow())),
            None => Err(Problem::not_found()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUTES, Whose};

    #[test]
    fn a_route_has_the_place_of_what_it_does() {
        for (place, route) in ROUTES.iter().enumerate() {
            assert_eq!(route.what as usize, place, "{}", route.name());
        }
    }

    #[test]
    fn no_path_answers_to_two_verbs() {
        for (index, one) in ROUTES.iter().enumerate() {
            for other in &ROUTES[index + 1..] {
                let apart = matches!(
                    (one.whose, other.whose),
                    (Whose::NamedAccount, Whose::Daemon) | (Whose::Daemon, Whose::NamedAccount)
                );
                assert!(one.path != other.path || apart, "{} stands there twice", one.path);
            }
        }
    }
}
