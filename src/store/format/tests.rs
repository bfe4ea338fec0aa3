//! What passes between a record and its bytes, and from one boot to the next.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::clock::Wall;

const HOUR: i64 = 3_600_000;
/// A fine day in 2026.
const WALL: i64 = 1_780_000_000_000;

/// Boot "a", one hour old.
fn at_writing() -> Reading {
    Reading {
        moment: Moment::from_millis(HOUR),
        wall_millis: WALL,
        boot_id: "a".to_owned(),
        wall: Wall::Believable,
    }
}

/// The same boot, so much later.
fn later(millis: i64) -> Reading {
    let then = at_writing();
    Reading {
        moment: Moment::from_millis(then.moment.as_millis() + millis),
        wall_millis: WALL + millis,
        ..then
    }
}

/// Boot "b", ten seconds old, so much later by the wall clock.
fn after_reboot(millis: i64) -> Reading {
    Reading {
        moment: Moment::from_millis(10_000),
        wall_millis: WALL + millis,
        boot_id: "b".to_owned(),
        wall: Wall::Believable,
    }
}

fn key() -> Fingerprint {
    Fingerprint::of(&Secret::new("bGlrZSBhbiBBUEkga2V5LCBidXQgbm90"))
}

fn token(text: &str) -> Rc<AccessToken> {
    Rc::new(AccessToken { token: Secret::new(text), token_type: "Bearer".to_owned(), scope: None })
}

/// Issued ten minutes before the writing, to live for an hour.
fn grant() -> StoredGrant {
    let written = at_writing().moment;
    StoredGrant {
        access: Some(StoredAccess {
            token: token("access"),
            issued_at: written - Duration::from_secs(600),
            expires_at: written + Duration::from_secs(3000),
            refresh_at: written + Duration::from_secs(2400),
        }),
        refresh_token: Secret::new("refresh"),
        previous: Some(Secret::new("previous")),
        refusals: 2,
        refresh_sent: false,
        disbelieved: false,
    }
}

fn granted() -> Record {
    Record { grant: Some(grant()), ..Record::default() }
}

/// Nine minutes left at the writing, people told a minute before it.
fn pin() -> StoredPin {
    let written = at_writing().moment;
    StoredPin {
        pin: "ABCD-EFGH".to_owned(),
        code: Secret::new("code"),
        expires_at: written + Duration::from_secs(540),
        interval: Duration::from_secs(30),
    }
}

fn told() -> Tidings {
    let pin_at = Some(at_writing().moment - Duration::from_secs(60));
    Tidings { pin_at, loss_at: None }
}

fn reread(record: &Record, now: &Reading) -> (Record, Option<Doubt>) {
    let bytes = encode("home", &key(), record, &at_writing());
    decode(&bytes, "home").expect("our own bytes").into_record(now)
}

/// The access token as it is reread, and why it may be dead. Whatever becomes of it, the rest must be kept.
fn reread_access(stored: &StoredGrant, now: &Reading) -> (Option<StoredAccess>, Option<Doubt>) {
    let (record, doubt) = reread(&Record { grant: Some(stored.clone()), ..Record::default() }, now);
    let mut reread = record.grant.expect("a grant is never dropped");
    let access = reread.access.take();
    // What is marked on disk, no later start believes either.
    let disbelieved = doubt.is_some_and(|why| why != Doubt::RefreshSent);
    assert_eq!(reread, StoredGrant { access: None, disbelieved, ..stored.clone() });
    (access, doubt)
}

fn reread_pin(now: &Reading) -> StoredPin {
    reread(&Record { pin: Some(pin()), ..Record::default() }, now).0.pin.expect("a PIN is never dropped")
}

fn reread_told(now: &Reading) -> Tidings {
    reread(&Record { told: told(), ..Record::default() }, now).0.told
}

#[test]
fn a_file_of_before_there_were_tidings_is_read() {
    let bytes = encode("home", &key(), &granted(), &at_writing());
    let text = String::from_utf8(bytes.to_vec()).expect("JSON is text");
    let mut content: serde_json::Value = serde_json::from_str(&text).expect("our own JSON");
    content.as_object_mut().expect("an object").remove("told").expect("it is written");
    let old = serde_json::to_vec(&content).expect("JSON");
    let (record, _) = decode(&old, "home").expect("still ours").into_record(&at_writing());
    assert_eq!(record, granted());
}

#[test]
fn an_expired_token_is_dropped_without_a_doubt() {
    let last = later(3_000_000 - 1);
    assert_eq!(reread_access(&grant(), &last), (grant().access, None));
    assert_eq!(reread_access(&grant(), &later(3_000_000)), (None, None));
    assert_eq!(reread_access(&grant(), &after_reboot(3_000_000)), (None, None));
}

#[test]
fn a_boot_clock_that_went_back_puts_the_token_in_doubt() {
    assert_eq!(reread_access(&grant(), &later(-1)), (None, Some(Doubt::BootClockWentBack)));
}

#[test]
fn a_token_from_the_future_is_in_doubt() {
    let mut odd = grant();
    let access = odd.access.as_mut().expect("it has one");
    access.issued_at = at_writing().moment + Duration::from_secs(60);
    let doubted = (None, Some(Doubt::IssuedInTheFuture));
    assert_eq!(reread_access(&odd, &later(59_999)), doubted);
    assert_eq!(reread_access(&odd, &after_reboot(59_999)), doubted);
}

#[test]
fn after_a_reboot_a_living_token_is_carried_over_by_wall_time() {
    let (access, doubt) = reread_access(&grant(), &after_reboot(60_000));
    let access = access.expect("it lives for 49 minutes yet");
    assert_eq!(doubt, None);
    // Now is 10 s on this clock, and the file was written a minute ago.
    assert_eq!(access.issued_at.as_millis(), 10_000 - 60_000 - 600_000);
    assert_eq!(access.refresh_at.as_millis(), 10_000 - 60_000 + 2_400_000);
    assert_eq!(access.expires_at.as_millis(), 10_000 - 60_000 + 3_000_000);
    assert_eq!(access.token, token("access"));
}

#[test]
fn after_a_reboot_a_doubtful_wall_clock_puts_the_token_in_doubt() {
    let now = Reading { wall: Wall::Doubtful, ..after_reboot(60_000) };
    assert_eq!(reread_access(&grant(), &now), (None, Some(Doubt::WallClockDoubtful)));
}

#[test]
fn after_a_reboot_a_wall_clock_that_went_back_puts_the_token_in_doubt() {
    // Before the issue; and after it, but before the writing.
    for millis in [-600_001, -1] {
        let doubted = (None, Some(Doubt::WallClockWentBack));
        assert_eq!(reread_access(&grant(), &after_reboot(millis)), doubted);
    }
}

#[test]
fn after_a_reboot_within_a_millisecond_of_the_writing_nothing_is_in_doubt() {
    let (access, doubt) = reread_access(&grant(), &after_reboot(0));
    assert!(access.is_some());
    assert_eq!(doubt, None);
}

#[test]
fn boots_without_a_name_are_never_the_same() {
    let nameless = |now: Reading| Reading { boot_id: String::new(), ..now };
    let bytes = encode("home", &key(), &granted(), &nameless(at_writing()));
    let content = decode(&bytes, "home").expect("our own bytes");
    let now = nameless(Reading { wall: Wall::Doubtful, ..later(1000) });
    assert_eq!(content.into_record(&now).1, Some(Doubt::WallClockDoubtful));
}

#[test]
fn a_refresh_under_way_puts_the_token_in_doubt_and_is_not_forgotten() {
    let marked = StoredGrant { refresh_sent: true, ..grant() };
    assert_eq!(reread_access(&marked, &later(1000)), (None, Some(Doubt::RefreshSent)));
    assert_eq!(reread_access(&marked, &after_reboot(1000)), (None, Some(Doubt::RefreshSent)));
}

#[test]
fn a_token_that_no_header_may_carry_is_never_served() {
    for text in ["", "two words", "line\r\nX-Evil: 1", "t\u{f6}ken"] {
        let odd_type = AccessToken { token: Secret::new("access"), token_type: text.to_owned(), scope: None };
        for odd_token in [token(text), Rc::new(odd_type)] {
            let mut odd = grant();
            odd.access.as_mut().expect("it has one").token = odd_token;
            assert_eq!(reread_access(&odd, &later(1000)), (None, Some(Doubt::Unservable)), "{text:?}");
        }
    }
}

#[test]
fn a_planned_refresh_stays_within_the_life_of_its_token() {
    let life =
        (at_writing().moment - Duration::from_secs(600), at_writing().moment + Duration::from_secs(3000));
    for (stored, kept) in [(i64::MIN, life.0), (i64::MAX, life.1)] {
        let mut odd = grant();
        odd.access.as_mut().expect("it has one").refresh_at = Moment::from_millis(stored);
        let (access, _) = reread_access(&odd, &later(1000));
        assert_eq!(access.map(|access| access.refresh_at), Some(kept));
    }
}

#[test]
fn after_a_reboot_a_pin_is_carried_over_by_wall_time() {
    let carried = reread_pin(&after_reboot(60_000));
    assert_eq!(carried.expires_at.as_millis(), 10_000 - 60_000 + 540_000);
    let told_at = reread_told(&after_reboot(60_000)).pin_at;
    assert_eq!(told_at.map(Moment::as_millis), Some(10_000 - 60_000 - 60_000));
    assert_eq!((carried.pin, carried.code, carried.interval), (pin().pin, pin().code, pin().interval));
}

#[test]
fn in_doubt_a_pin_lives_on_as_if_no_time_had_passed() {
    let doubtful = [Reading { wall: Wall::Doubtful, ..after_reboot(HOUR) }, after_reboot(-1), later(-10_000)];
    for now in doubtful {
        let kept = reread_pin(&now);
        assert_eq!(kept.expires_at, now.moment + Duration::from_secs(540));
        assert_eq!(reread_told(&now).pin_at, Some(now.moment - Duration::from_secs(60)));
    }
}

#[test]
fn a_fingerprint_tells_keys_apart_and_shows_neither() {
    let other = Fingerprint::of(&Secret::new("another key"));
    assert_ne!(key(), other);
    assert_eq!(key().hex().len(), 64);
    assert!(!format!("{other:?}").contains("another"));
}

#[test]
fn the_fingerprint_of_a_key_never_changes() {
    // Were it to change, every grant that is stored anywhere would count as another key's.
    let shown = Fingerprint::of(&Secret::new("key")).hex();
    assert_eq!(shown, FINGERPRINT_OF_KEY);
}

/// `printf 'ecobee-tokend API key\0key' | sha256sum`
const FINGERPRINT_OF_KEY: &str = "b11f3d12a4abb8a48cdbe5193ffd699f117dc482326249266eef832e0d1984f7";

#[test]
fn unknown_members_are_ignored() {
    let bytes = encode("home", &key(), &granted(), &at_writing());
    let text = String::from_utf8(bytes.to_vec()).expect("JSON is text");
    let extended = text.replacen('{', r#"{"colour": [{"deep": true}],"#, 1);
    let extended = extended.replacen(r#""grant": {"#, r#""grant": {"mood": null,"#, 1);
    assert_ne!(text, extended);
    let content = decode(extended.as_bytes(), "home").expect("still version 1");
    assert_eq!(content.into_record(&later(0)).0, granted());
}

#[test]
fn what_is_no_file_of_ours_is_told_by_place_and_never_quoted() {
    let bytes = encode("home", &key(), &granted(), &at_writing());
    let text = String::from_utf8(bytes.to_vec()).expect("JSON is text");
    let hostile = [
        String::new(),
        "\0".repeat(300),
        "sesame".to_owned(),
        r#""sesame""#.to_owned(),
        "[1]".to_owned(),
        " [9]".to_owned(),
        "{}".to_owned(),
        r#"{"version": "sesame"}"#.to_owned(),
        r#"{"version": 0}"#.to_owned(),
        r#"{"version": -1}"#.to_owned(),
        r#"{"version": 1.5}"#.to_owned(),
        r#"{"version": 9, "version": 1}"#.to_owned(),
        r#"{"version": 1}"#.to_owned(),
        r#"{"version": 9} sesame"#.to_owned(),
        "[".repeat(100_000),
        format!("{{\"x\":{}", "{\"x\":".repeat(100_000)),
        text.replace(r#""home""#, r#""sesame""#),
        text.replace(r#""refresh""#, "5"),
        text.replace("\"refusals\": 2", "\"refusals\": -2"),
        text.replace("\"refusals\": 2", "\"refusals\": \"sesame\""),
        text.replace(&HOUR.to_string(), "9223372036854775808"),
        format!("{text}sesame"),
    ];
    for text in hostile {
        match decode(text.as_bytes(), "home") {
            Err(Misfit::Flawed(flaw)) => assert!(!flaw.to_string().contains("sesame"), "{flaw}"),
            Ok(_) | Err(Misfit::Newer(_) | Misfit::Sealed(_)) => panic!("{text:.80} was taken"),
        }
    }
}

#[test]
fn a_newer_version_is_known_whatever_else_it_holds() {
    let newer = br#"{"version": 2, "account": 7, "version_note": "\u0000", "grant": []}"#;
    assert!(matches!(decode(newer, "home"), Err(Misfit::Newer(2))));
}

#[test]
fn the_bytes_are_written_into_a_vector_that_never_grows() {
    let bytes = encode("home", &key(), &granted(), &at_writing());
    assert_eq!(bytes.len(), bytes.capacity());
    assert_eq!(bytes.last(), Some(&b'\n'));
}

fn secret() -> impl Strategy<Value = Secret> {
    any::<String>().prop_map(Secret::new)
}

fn any_moment() -> impl Strategy<Value = Moment> {
    any::<i32>().prop_map(|millis| Moment::from_millis(i64::from(millis)))
}

fn any_access() -> impl Strategy<Value = StoredAccess> {
    // It lives at the writing, and its refresh may be overdue.
    let life = (0_i64..HOUR, 1_i64..24 * HOUR, 0_i64..25 * HOUR);
    ("[!-~]{1,40}", "[!-~]{1,10}", option::of(any::<String>()), life).prop_map(
        |(token, token_type, scope, (age, left, planned))| {
            let now = at_writing().moment.as_millis();
            StoredAccess {
                token: Rc::new(AccessToken { token: Secret::new(token), token_type, scope }),
                issued_at: Moment::from_millis(now - age),
                expires_at: Moment::from_millis(now + left),
                refresh_at: Moment::from_millis((now - age + planned).min(now + left)),
            }
        },
    )
}

fn any_grant() -> impl Strategy<Value = StoredGrant> {
    (option::of(any_access()), secret(), option::of(secret()), any::<u32>()).prop_map(
        |(access, refresh_token, previous, refusals)| StoredGrant {
            refresh_sent: access.is_none() && refusals % 2 == 1,
            disbelieved: false,
            access,
            refresh_token,
            previous,
            refusals,
        },
    )
}

fn any_pin() -> impl Strategy<Value = StoredPin> {
    (any::<String>(), secret(), any_moment(), any::<u32>()).prop_map(|(pin, code, expires_at, interval)| {
        StoredPin { pin, code, expires_at, interval: Duration::from_millis(u64::from(interval)) }
    })
}

fn any_tidings() -> impl Strategy<Value = Tidings> {
    (option::of(any_moment()), option::of(any_moment()))
        .prop_map(|(pin_at, loss_at)| Tidings { pin_at, loss_at })
}

fn any_record() -> impl Strategy<Value = Record> {
    (option::of(any_grant()), option::of(any_pin()), any_tidings()).prop_map(|(grant, pin, told)| Record {
        grant,
        pin,
        told,
    })
}

proptest! {
    // A failure is printed whole; no file of it is left in the source tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read_again(record in any_record()) {
        prop_assert_eq!(reread(&record, &at_writing()), (record, None));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(decode(&bytes, "home").is_err());
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode("home", &key(), &granted(), &at_writing());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(content) = decode(&bytes, "home") {
            let _ = content.into_record(&later(1000));
        }
    }

    /// Rule 8, all of it: the file was written 10 minutes into the life of a token that has 50 more.
    #[test]
    fn a_token_passes_to_another_boot_by_wall_time_or_not_at_all(
        elapsed in -2 * HOUR..2 * HOUR, uptime in 0..HOUR, believable: bool,
    ) {
        let now = Reading {
            moment: Moment::from_millis(uptime),
            wall: if believable { Wall::Believable } else { Wall::Doubtful },
            ..after_reboot(elapsed)
        };
        let (access, doubt) = reread_access(&grant(), &now);
        prop_assert_eq!(access.is_some(), believable && (0..3_000_000).contains(&elapsed));
        prop_assert_eq!(doubt.is_some(), !believable || elapsed < 0);
        if let (Some(then), Some(access)) = (grant().access, access) {
            let left = access.expires_at.since(now.moment).as_millis();
            prop_assert_eq!(i64::try_from(left).expect("small"), 3_000_000 - elapsed);
            prop_assert_eq!(access.expires_at.since(access.issued_at), then.expires_at.since(then.issued_at));
            prop_assert_eq!(access.refresh_at.since(access.issued_at), then.refresh_at.since(then.issued_at));
        }
        // A PIN is never dropped, and ends no later than it would have without the time in between.
        let left = reread_pin(&now).expires_at.as_millis() - uptime;
        prop_assert_eq!(left, if believable && elapsed >= 0 { 540_000 - elapsed } else { 540_000 });
    }

    /// No setting of the wall clock changes anything.
    #[test]
    fn in_the_same_boot_all_is_as_it_was(elapsed in 0..HOUR, wall_millis: i64, believable: bool) {
        let wall = if believable { Wall::Believable } else { Wall::Doubtful };
        let now = Reading { wall_millis, wall, ..later(elapsed) };
        let living = grant().access.filter(|_| elapsed < 3_000_000);
        prop_assert_eq!(reread_access(&grant(), &now), (living, None));
        prop_assert_eq!(reread_pin(&now), pin());
    }

    #[test]
    fn no_clocks_make_it_panic(
        boot_ms: i64, wall_ms: i64, issued: i64, expires: i64, moment: i64, wall_millis: i64, same: bool,
    ) {
        let mut odd = grant();
        let access = odd.access.as_mut().expect("it has one");
        access.issued_at = Moment::from_millis(issued);
        access.expires_at = Moment::from_millis(expires);
        let record = Record { grant: Some(odd), pin: Some(pin()), told: told() };
        let written = Reading {
            moment: Moment::from_millis(boot_ms), wall_millis: wall_ms, ..at_writing()
        };
        let bytes = encode("home", &key(), &record, &written);
        let boot_id = if same { "a" } else { "b" }.to_owned();
        let moment = Moment::from_millis(moment);
        let now = Reading { moment, wall_millis, boot_id, wall: Wall::Believable };
        let content = decode(&bytes, "home").expect("our own bytes");
        let living = content.into_record(&now).0.grant.and_then(|grant| grant.access);
        if let Some(access) = living {
            prop_assert!(access.issued_at <= moment && moment < access.expires_at);
            prop_assert!(access.issued_at <= access.refresh_at && access.refresh_at <= access.expires_at);
        }
    }
}
