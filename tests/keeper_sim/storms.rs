//! Everything at once, at random, many times: only the laws of the world are held.

use ecobee_tokend::keeper::{Answer, Policy};

use crate::world::{
    Dice, DiskMishap, Errand, Mishap, People, Question, Rotation, World, authorize, bare, json, ms, refresh,
    rejected, secs,
};

/// How rough a storm is: so many calls in a hundred go wrong, and so many saves.
#[derive(Clone, Copy)]
struct Roughness {
    calls: u64,
    saves: u64,
    /// So many times in a hundred events the daemon is killed.
    crashes: u64,
}

/// Storms a test, and events a storm.
const SEEDS: u64 = 12;
const EVENTS: u32 = 200;

fn policy(dice: &mut Dice) -> Policy {
    let retry_initial = secs(1 + dice.below(60));
    Policy {
        ahead: secs(60 + dice.below(1741)),
        retry_initial,
        retry_max: retry_initial + dice.length(secs(3540)),
        refusals_before_pin: u32::try_from(1 + dice.below(4)).expect("small"),
        remind_every: secs(3600 + dice.below(90_000)),
        ..Policy::default()
    }
}

fn furnish(world: &mut World, dice: &mut Dice, roughness: Roughness) {
    world.policy = policy(dice);
    world.ecobee.rotation = dice.one_of(&Rotation::ALL);
    world.ecobee.lifetime =
        secs(dice.one_of(&[1, 2, 3, 5, 7, 12, 30, 60, 60, 299, 3599, 3600, 3600, 86_400]));
    world.ecobee.pin_lifetime = secs(dice.one_of(&[0, 1, 540, 540, 60, 3600]));
    world.ecobee.interval = secs(dice.one_of(&[5, 30, 30]));
    world.ecobee.latency = dice.one_of(&[ms(2), ms(300), ms(1500), ms(2500)]);
    world.people = dice.one_of(&[
        People::Away,
        People::Enter(secs(1)),
        People::Enter(secs(300)),
        People::Enter(secs(539)),
    ]);
    let mut of_calls = Dice::new(dice.below(u64::MAX));
    world.ecobee.weather(Box::new(move |errand| {
        if of_calls.percent(roughness.calls) { Mishap::thrown(&mut of_calls, errand) } else { Mishap::None }
    }));
    let mut of_saves = Dice::new(dice.below(u64::MAX));
    world.disk.weather(Box::new(move || {
        of_saves.percent(roughness.saves).then(|| DiskMishap::thrown(&mut of_saves))
    }));
}

fn question(world: &mut World, dice: &mut Dice, last: &str) -> Question {
    let most = world.ecobee.lifetime.as_secs();
    let plain = match dice.below(20) {
        0 => refresh(),
        1 => rejected(last),
        2 => return authorize().wait(dice.below(100)),
        3 => return authorize(),
        4..9 => bare(),
        _ => json(),
    };
    let by = plain.by(u32::try_from(dice.below(5)).expect("small"));
    let by = if dice.percent(20) { by.wait(dice.below(400)) } else { by };
    if dice.percent(30) { by.min_ttl(dice.below(most + 1)) } else { by }
}

fn storm(seed: u64, roughness: Roughness) {
    let mut dice = Dice::new(seed);
    let mut world = World::started_with(|world| furnish(world, &mut dice, roughness));
    let mut last = String::new();
    for _ in 0..EVENTS {
        let pause = match dice.below(10) {
            0..4 => dice.length(secs(3)),
            4..7 => dice.length(secs(40)),
            7..9 => dice.length(world.ecobee.lifetime),
            _ => dice.length(secs(7200)),
        };
        world.run(pause);
        match dice.below(100) {
            0..75 => {
                let question = question(&mut world, &mut dice, &last);
                let id = world.ask(question);
                if let Some(Answer::Token { access, .. }) = world.answer(id) {
                    access.token.expose().clone_into(&mut last);
                }
                if dice.percent(5) {
                    world.hang_up(id);
                }
            }
            75..78 => world.suspend(dice.length(secs(20_000))),
            78..80 => world.tick(),
            80 => world.sigusr1(),
            81 => world.reload(Policy { ahead: world.policy.ahead, ..policy(&mut dice) }),
            82 => world.kill_access_token(),
            83 => {
                if dice.percent(20) {
                    world.ecobee.revoke_refresh_tokens();
                }
            }
            84 => {
                let until = world.now + dice.length(secs(3000));
                world.ecobee.outage(until, Mishap::thrown(&mut dice, Errand::Refresh));
            }
            85 => world.ecobee.quarantine_until = world.now + dice.length(secs(9000)),
            86..96 => {
                if dice.percent(roughness.crashes) {
                    world.crash();
                }
            }
            _ => {
                if world.pin().is_some() {
                    world.enter_pin();
                }
            }
        }
        world.history.forget_old();
    }
    world.stop();
    world.run(secs(120));
    world.all_are_answered();
}

fn storms(roughness: Roughness) {
    for seed in 0..SEEDS {
        let survived = std::panic::catch_unwind(|| storm(seed, roughness));
        if let Err(broken) = survived {
            eprintln!("in the storm of seed {seed}");
            std::panic::resume_unwind(broken);
        }
    }
}

#[test]
fn clients_at_random_break_no_law() {
    storms(Roughness { calls: 0, saves: 0, crashes: 0 });
}

#[test]
fn crashes_at_random_break_no_law() {
    storms(Roughness { calls: 0, saves: 0, crashes: 60 });
}

#[test]
fn a_rough_ecobee_breaks_no_law() {
    storms(Roughness { calls: 30, saves: 0, crashes: 30 });
}

#[test]
fn a_rough_disk_breaks_no_law() {
    storms(Roughness { calls: 0, saves: 30, crashes: 10 });
}

#[test]
fn everything_at_once_breaks_no_law() {
    storms(Roughness { calls: 40, saves: 40, crashes: 50 });
}
