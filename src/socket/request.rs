//! One request in, one response out.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::body::Body;
use super::door::HEARD_OUT_FOR;
use super::events::Events;
use super::form::{Dialect, Form};
use super::problem::Problem;
use super::query::Parameters;
use super::routes::{self, Route, What};
use super::visit::Visit;
use super::{Admission, Asked, Lender, answers, measures};
use crate::keeper::{Answer, Ask, Want};
use crate::secret::Secret;

/// Twice what the longest token could be.
const BODY_LIMIT: usize = 128 * 1024;

/// So much of a body that is too large is read on before it is refused, if it comes in the time that one is heard out for.
const HEARD_OUT: usize = 1024 * 1024;

type Reply = Response<Body>;

/// Answers a request, whatever it is.
pub(super) async fn answer<L: Lender>(
    visit: Rc<Visit<L>>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    visit.wire.receiving();
    let (head, body) = request.into_parts();
    let found = routes::find(&head.method, head.uri.path());
    let what = found.as_ref().ok().map(|(route, _)| route.what);
    let answer = match found {
        Ok((route, name)) => visit.respond(route, name, &head, body).await,
        Err(problem) => Err(problem),
    };
    let mut response = answer.unwrap_or_else(|problem| problem.response());
    visit.hall.requests.count(what, response.status());
    if visit.hall.is_last_answer() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    visit.wire.sending();
    Ok(response)
}

impl<L: Lender> Visit<L> {
    async fn respond(
        &self,
        route: &Route,
        name: Option<&str>,
        head: &Parts,
        body: Incoming,
    ) -> Result<Reply, Problem> {
        let lender = &*self.hall.lender;
        tracing::debug!(uid = self.peer.uid, pid = self.peer.pid, what = ?route.what, account = possible_name(name));
        if body.size_hint().lower() > BODY_LIMIT as u64 {
            return Err(too_large(body).await);
        }
        let said = Parameters::read(head.uri.query(), route.parameters)?;
        let min_ttl = said.min_ttl.unwrap_or_default();
        let account = || self.account(name, head.uri.path());
        let form = if route.what == What::Header { Form::Header } else { Form::wished_for(&head.headers) };
        let mut groups = None;
        let want = match route.what {
            What::Health => return answers::health(lender),
            What::Statuses => return Ok(answers::statuses(lender)),
            What::Status => return Ok(answers::status(lender, account()?)),
            What::AccountEvents => {
                account()?;
                return Ok(self.events(name));
            }
            What::Events => return Ok(self.events(None)),
            What::Metrics => {
                let dialect = Dialect::wished_for(&head.headers);
                return Ok(answers::metrics(dialect, measures::text(&self.hall, dialect)));
            }
            What::Pin => {
                let pin = lender.view(account()?).pin.ok_or_else(Problem::no_pin)?;
                return Ok(answers::pin(lender, pin));
            }
            What::Token | What::Header => Want::Token { min_ttl, told: form.told() },
            What::Refresh => Want::Refresh { min_ttl },
            What::Authorize => Want::Authorize,
            What::Rejected => {
                self.admit(account()?, name, &mut groups).await?;
                Want::Rejected { token: refused_token(body).await?, min_ttl }
            }
        };
        let ask = Ask { want, wait: said.wait, uid: self.peer.uid };
        loop {
            // Also after `admit` above: a body takes its time, and the accounts may be others by now.
            let account = account()?;
            self.admit(account, name, &mut groups).await?;
            if let Some(answer) = self.put(account, name, ask.clone(), &mut groups).await {
                return match answer {
                    Answer::Token { access, promised } => Ok(answers::token(access, promised, form)),
                    Answer::Pin(view) => Ok(answers::pin(lender, view)),
                    Answer::Problem(problem) => Err(Problem::of_keeper(lender, problem)),
                };
            }
        }
    }

    fn events(&self, whose: Option<&str>) -> Reply {
        answers::events(Body::Stream(Box::pin(Events::new(&self.hall, &self.wire, whose))))
    }

    /// The account that a path means.
    fn account(&self, name: Option<&str>, path: &str) -> Result<L::Account, Problem> {
        let lender = &*self.hall.lender;
        if let Some(name) = name {
            let name = possible_name(Some(name)).ok_or_else(|| Problem::unknown_account(None))?;
            return lender.account(name).ok_or_else(|| Problem::unknown_account(Some(name)));
        }
        lender.default_account().ok_or_else(|| {
            let names: Vec<_> = lender.accounts().into_iter().map(|(name, _)| name).collect();
            if names.is_empty() {
                Problem::no_account()
            } else {
                Problem::account_required(path, &answers::some_of(&names))
            }
        })
    }

    /// Lets those pass who may have the account's tokens. `groups` is filled where it comes to groups.
    async fn admit(
        &self,
        account: L::Account,
        name: Option<&str>,
        groups: &mut Option<Rc<[u32]>>,
    ) -> Result<(), Problem> {
        let lender = &*self.hall.lender;
        loop {
            match lender.may_have(account, &self.peer, groups.as_deref()) {
                Admission::Granted => return Ok(()),
                Admission::Denied => break,
                Admission::Depends => {
                    let found = lender.groups_of(self.peer.uid).await;
                    *groups = Some(found.ok_or_else(|| Problem::without_groups(&self.peer))?);
                }
            }
        }
        if self.hall.written_down.is_due(self.peer.uid) {
            let (uid, pid) = (self.peer.uid, self.peer.pid);
            let account = name.map(str::to_owned).or_else(|| lender.default_name()).unwrap_or_default();
            tracing::warn!(
                account,
                uid,
                pid,
                "{account}: refused: neither allow-users nor allow-groups name this user"
            );
        }
        Err(Problem::forbidden(&self.peer))
    }

    /// Puts the question to the keeper; `None`: meanwhile the account has become another, has gone, or lets others in.
    async fn put(
        &self,
        account: L::Account,
        name: Option<&str>,
        ask: Ask,
        groups: &mut Option<Rc<[u32]>>,
    ) -> Option<Answer> {
        match self.hall.lender.ask(account, ask) {
            Asked::Now(answer) => Some(answer),
            Asked::Later(waiting) => {
                self.wire.waiting();
                let answer = waiting.await?;
                // Who has waited for an hour may have lost the right to it, and the groups are those of today.
                *groups = None;
                self.admit(account, name, groups).await.ok().map(|()| answer)
            }
        }
    }
}

/// The name, if an account could have it. What else a path says is repeated nowhere.
fn possible_name(name: Option<&str>) -> Option<&str> {
    name.filter(|name| {
        matches!(name.len(), 1..=32)
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    })
}

/// The body of `POST /token/rejected`.
async fn refused_token(mut body: Incoming) -> Result<Secret, Problem> {
    let mut token = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::invalid("The body ends too early, or is not as HTTP wants it."));
        };
        if let Some(piece) = frame.data_ref() {
            token.extend_from_slice(piece);
        }
        if token.len() > BODY_LIMIT {
            return Err(too_large(body).await);
        }
    }
    match std::str::from_utf8(token.trim_ascii()) {
        Ok("") => Err(Problem::invalid("The body is empty; it is to be the refused token.")),
        Ok(token) => Ok(Secret::new(token)),
        Err(_) => Err(Problem::invalid("The body is not text; it is to be the refused token.")),
    }
}

/// Refuses a body, after having heard some of the rest of it.
async fn too_large(mut body: Incoming) -> Problem {
    let hear_out = async {
        let mut left = HEARD_OUT;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    let _ = timeout(HEARD_OUT_FOR, hear_out).await;
    Problem::too_large(BODY_LIMIT)
}
