//! What becomes of the keeper's orders: calls are sent, records saved, requests answered, people told.

use std::time::Duration;

use ecobee_tokend::keeper::{Action, Answer, CallId, Event, News, PinView, Problem, Reach, State};

use super::agenda::{Call, Due};
use super::ecobee::{Mishap, Request, trouble};
use super::history::Deed;
use super::laws::Sight;
use super::tally::Fault;
use super::{People, World};

impl World {
    /// Steps the keeper and carries out what it orders.
    pub(crate) fn step(&mut self, event: Event) {
        let actions = self.keeper.step(self.now, event);
        self.carry_out(actions);
    }

    /// Steps the keeper with what may bring a refresh on before its time.
    pub(super) fn forcing(&mut self, uid: u32, event: Event) {
        let asked = if let Event::Asked(id, ask) = &event { Some((*id, ask.clone())) } else { None };
        let before = self.keeper.view(self.now);
        let overdue = self.wake_at.is_some_and(|at| at <= self.now);
        let actions = self.keeper.step(self.now, event);
        if let Some((id, ask)) = asked {
            let sent_away = actions.iter().any(|action| {
                matches!(
                    action,
                    Action::Answer(to, Answer::Problem(Problem::TooMany { .. } | Problem::MinTtlTooLong { .. }))
                        if *to == id
                )
            });
            if !sent_away {
                self.laws.admitted(self.now, &ask);
            }
        }
        let after = self.keeper.view(self.now);
        let sends = actions.iter().any(|action| matches!(action, Action::SendRefresh { .. }));
        let sooner = match (&before.token, &after.token) {
            (Some(before), Some(after)) if before.issued_at == after.issued_at => {
                after.refresh_at < before.refresh_at
            }
            _ => false,
        };
        let begins = sends || after.state == State::Refreshing;
        if !overdue && before.state != State::Refreshing && (begins || sooner) {
            self.laws.forced(self.now, uid);
        } else {
            self.laws.may_be_forced();
        }
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        self.tally.events += 1;
        self.laws.step_ended(self.now, &actions);
        for action in actions {
            if let Some(left) = &mut self.fuse {
                let Some(fewer) = left.checked_sub(1) else {
                    self.tally.count(Fault::KilledWithinStep);
                    return self.crash();
                };
                *left = fewer;
            }
            self.carry_out_one(action);
        }
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.actions_done(&sight, &self.keeper.view(self.now));
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::SendAuthorize { call } => self.send(call, Request::Authorize),
            Action::SendPoll { call, code } => {
                self.send(call, Request::Poll { code: code.expose().to_owned() });
            }
            Action::SendRefresh { call, refresh_token } => {
                self.send(call, Request::Refresh { token: refresh_token.expose().to_owned() });
            }
            Action::Persist { save, record } => {
                self.tally.saves += 1;
                self.history.add(self.now, Deed::Ordered);
                let sight = Sight::new(self.now, &self.policy, &self.ecobee);
                self.laws.save_began(&sight, &record);
                let written = self.machine.reading(self.now);
                let (takes, result) = self.disk.begin(save, *record, written, &mut self.tally);
                self.later(takes, Due::Saved { life: self.life, save, result });
            }
            Action::Answer(id, answer) => {
                if let Answer::Token { access, .. } = &answer {
                    self.tally.lent += 1;
                    self.last_lent = Some(access.token.expose().to_owned());
                }
                let sight = Sight::new(self.now, &self.policy, &self.ecobee);
                self.history.add(self.now, Deed::Answered(id, answer.clone()));
                self.laws.answered(&sight, id, &answer);
            }
            Action::Tell(news) => {
                if let News::Rejected { .. } = news {
                    self.laws.rejected();
                } else if let News::GivenUp { .. } = news {
                    self.laws.given_up(self.now);
                } else if let News::PinShown(pin) = &news {
                    self.pin_shown(pin);
                }
                self.history.add(self.now, Deed::Told(news));
            }
            Action::Notify(notice) => {
                self.laws.notified(self.now, &self.policy, &notice);
                self.history.add(self.now, Deed::Notified(notice));
            }
            Action::WakeAt(at) => self.wake_at = at,
        }
    }

    fn pin_shown(&mut self, pin: &PinView) {
        self.tally.pins += 1;
        match self.people {
            People::Enter(after) => self.later(after, Due::Enters(pin.pin.clone())),
            People::Away => self.tally.count(Fault::PinIgnored),
        }
    }

    fn send(&mut self, id: CallId, request: Request) {
        self.history.add(self.now, Deed::Sent(request.clone()));
        let mishap = self.ecobee.fate(self.now, request.errand());
        self.tally.count_mishap(mishap);
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.call_began(&sight, &request, mishap != Mishap::None);
        let call = Call { life: self.life, id, sent_at: self.now, request, mishap };
        if mishap == Mishap::Unsent {
            self.later(self.ecobee.latency, Due::Replied(call, trouble(Reach::Unsent)));
        } else {
            self.later(self.ecobee.latency / 2, Due::Arrives(call));
        }
    }

    fn later(&mut self, long: Duration, due: Due) {
        self.agenda.enter(self.now + long, due);
    }
}
