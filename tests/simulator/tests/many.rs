//! A thousand accounts at once.
mod client;

use client::{Client, Tokens, quick, start};
use ecobee_simulator::{CallKind, Liveness, Options, Rotation};

const ACCOUNTS: usize = 1000;
const THREADS: usize = 20;

#[test]
fn a_thousand_accounts_keep_their_grants_apart() {
    let ecobee = start(Options { rotation: Rotation::ReuseDetection, ..quick() });
    let keys: Vec<String> = (0..ACCOUNTS).map(|n| format!("key-{n}")).collect();
    std::thread::scope(|scope| {
        for keys in keys.chunks(ACCOUNTS / THREADS) {
            let ecobee = &ecobee;
            scope.spawn(move || {
                for key in keys {
                    let me = Client { ecobee, key };
                    let first = me.log_in();
                    let second = Tokens::of(&me.refresh(&first.refresh));
                    assert_eq!(me.thermostat(&first.access), (500, 14));
                    assert_eq!(me.thermostat(&second.access), (200, 0));
                }
            });
        }
    });
    let truth = ecobee.truth();
    assert_eq!(truth.grants().len(), ACCOUNTS);
    assert_eq!(ecobee.calls_of(CallKind::Refresh).len(), ACCOUNTS);
    for key in &keys {
        let grant = truth.grant_of(key).expect("it logged in");
        let newest = grant.access_token().expect("it has one");
        assert_eq!(truth.liveness(&newest.value), Liveness::Alive);
    }
}
