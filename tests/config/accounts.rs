//! `[accounts.NAME]` and `default-account`.

use std::fs;

use ecobee_tokend::config::{ApiKeySource, KeySource, Principal};

use crate::{Computer, HOME, KEY, assert_refused, load, refusal};

const CABIN: &str = "[accounts.cabin]\napi-key = \"cabin\"\n";

#[test]
fn accounts_have_names_of_small_letters_digits_and_hyphens() {
    let longest = "a".repeat(32);
    for name in ["home", "2nd-floor", "-", &longest] {
        let settings = load(&format!("[accounts.{name}]\napi-key = \"x\""));
        assert!(settings.accounts.contains_key(name), "{name}");
    }
    let longer = "a".repeat(33);
    for name in ["Home", "a_b", "\"\"", "\"a.b\"", "\"ä\"", "\"a/b\"", &longer] {
        let message = refusal(&format!("[accounts.{name}]\napi-key = \"x\""));
        let expected = format!(
            "config.toml:1: accounts.{name}: not a name for an account; wanted 1 to 32 of the characters a-z, 0-9 and -"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn the_only_account_is_the_default_one_and_of_several_the_one_that_is_named() {
    assert_eq!(load(HOME).default_account.as_deref(), Some("home"));
    assert_eq!(load(&format!("{HOME}{CABIN}")).default_account, None);
    let named = load(&format!("default-account = \"cabin\"\n{HOME}{CABIN}"));
    assert_eq!(named.default_account.as_deref(), Some("cabin"));
}

#[test]
fn the_default_account_has_to_be_one_of_the_file() {
    assert_eq!(
        refusal(&format!("default-account = \"house\"\n{HOME}{CABIN}")),
        "config.toml:1: default-account: found \"house\"; wanted the name of an account of this file: cabin, home"
    );
    assert_eq!(
        refusal("default-account = \"home\""),
        "config.toml:1: default-account: found \"home\"; wanted the name of an account, and the file has none yet: \
         add a section [accounts.NAME]"
    );
}

#[test]
fn an_api_key_is_read_from_a_file_a_credential_or_the_configuration() {
    let computer = Computer::of_root().with_credentials().write("home.key", format!("{KEY} \t\r\n\n"));
    let file = KeySource::File(computer.path("home.key"));
    let credential = KeySource::Credential { name: "home.key".to_owned(), path: computer.path("home.key") };
    let sources = [
        ("api-key-file = \"home.key\"".to_owned(), ApiKeySource::Kept(file)),
        ("api-key-credential = \"home.key\"".to_owned(), ApiKeySource::Kept(credential)),
        (format!("api-key = \"{KEY}\""), ApiKeySource::Inline),
    ];
    for (line, source) in sources {
        let account = &computer.load(&format!("[accounts.home]\n{line}")).accounts["home"];
        assert_eq!((account.api_key.expose(), &account.api_key_source), (KEY, &source));
    }
}

#[test]
fn an_account_has_exactly_one_api_key() {
    assert_eq!(
        refusal("\n[accounts.home]\nscope = \"ems\""),
        "config.toml:2: accounts.home: found no API key; wanted one of api-key-file, api-key-credential, api-key"
    );
    assert_eq!(
        refusal("[accounts.home]\napi-key-file = \"home.key\"\napi-key = \"x\""),
        "config.toml:3: accounts.home.api-key: stands beside api-key-file; \
         wanted only one of api-key-file, api-key-credential, api-key"
    );
    assert_refused(
        &[
            "accounts.home = { api-key-credential = \"x\", api-key = \"x\" }",
            "accounts.home = { api-key-credential = \"x\", api-key-file = \"x\" }",
        ],
        "wanted only one of api-key-file, api-key-credential, api-key",
    );
}

#[test]
fn a_file_or_credential_that_cannot_be_a_key_is_refused_by_name() {
    let keys: [(&[u8], &str); 7] = [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (&[b'x'; 4097], "is longer than 4 KiB"),
        (b" key", "holds a space or a character that is not visible ASCII"),
        (b"two words", "holds a space or a character that is not visible ASCII"),
        (b"k\x7fy", "holds a space or a character that is not visible ASCII"),
        (b"\xff", "holds a space or a character that is not visible ASCII"),
    ];
    for (content, why) in keys {
        let computer = Computer::of_root().with_credentials().write("home.key", content);
        for key in ["api-key-file", "api-key-credential"] {
            assert_eq!(
                computer.refusal(format!("[accounts.home]\n\n{key} = \"home.key\"")),
                format!(
                    "config.toml:3: accounts.home.{key}: home.key {why}; wanted a file with an API key and nothing else"
                )
            );
        }
    }
    let computer = Computer::of_root().write("home.key", [b'x'; 4096]);
    computer.load("accounts.home.api-key-file = \"home.key\"");
}

#[test]
fn a_file_or_credential_that_cannot_be_read_is_refused_by_name() {
    let computer = Computer::of_root().with_credentials();
    fs::create_dir(computer.path("folder")).expect("a folder");
    for (name, why) in [("missing", "does not exist"), ("folder", "is not a regular file")] {
        for key in ["api-key-file", "api-key-credential"] {
            assert_eq!(
                computer.refusal(format!("accounts.home.{key} = \"{name}\"")),
                format!(
                    "config.toml:1: accounts.home.{key}: {name} {why}; wanted a file with an API key and nothing else"
                )
            );
        }
    }
}

#[test]
fn a_credential_needs_a_unit_that_hands_it_over() {
    assert_eq!(
        refusal("[accounts.home]\napi-key-credential = \"home.key\""),
        "config.toml:2: accounts.home.api-key-credential: found a credential, but $CREDENTIALS_DIRECTORY is not set; \
         wanted a start by a systemd unit with LoadCredential= or LoadCredentialEncrypted=, or a file instead"
    );
}

#[test]
fn a_credential_has_any_name_without_slashes() {
    for name in ["home.key", "two words", "-x", "..key", "größe", "a:b", "%h", "🔑", &"x".repeat(200)] {
        let computer = Computer::of_root().with_credentials().write(name, KEY);
        computer.load(&format!("accounts.home.api-key-credential = \"{name}\""));
    }
    for name in ["a/b", "../home.key", "/etc/passwd", "..", ".", ""] {
        let computer = Computer::of_root().with_credentials();
        assert_eq!(
            computer.refusal(format!("accounts.home.api-key-credential = \"{name}\"")),
            format!(
                "config.toml:1: accounts.home.api-key-credential: found \"{name}\"; wanted the name of a credential, without a slash"
            )
        );
    }
}

#[test]
fn an_inline_key_is_visible_ascii_too() {
    for (key, why) in
        [("", "is empty"), ("two words", "holds a space or a character that is not visible ASCII")]
    {
        assert_eq!(
            refusal(&format!("accounts.home.api-key = \"{key}\"")),
            format!("config.toml:1: accounts.home.api-key: the key {why}; wanted an API key")
        );
    }
}

#[test]
fn a_scope_is_one_or_several_of_ecobees() {
    for scope in ["smartRead", "ems", "smartWrite,ems", "ems,smartRead,smartWrite"] {
        assert_eq!(load(&format!("{HOME}scope = \"{scope}\"")).accounts["home"].scope, scope);
    }
    let wanted = "wanted smartRead, smartWrite, ems or several of them, joined by commas without spaces";
    for scope in ["", "smartread", "smartRead, ems", "smartRead ems", "smartRead,", "ems,ems", "everything"] {
        let message = refusal(&format!("{HOME}scope = \"{scope}\""));
        assert_eq!(message, format!("config.toml:3: accounts.home.scope: found \"{scope}\"; {wanted}"));
    }
}

#[test]
fn users_and_groups_are_names_or_numbers() {
    let text =
        format!("{HOME}allow-users = [\"alice\", 1000, \"1001\", 0x10]\nallow-groups = [\"domain users\"]");
    let account = &load(&text).accounts["home"];
    let alice = Principal::Name("alice".to_owned());
    assert_eq!(account.allow_users, [alice, Principal::Id(1000), Principal::Id(1001), Principal::Id(16)]);
    assert_eq!(account.allow_groups, [Principal::Name("domain users".to_owned())]);
    assert!(load(HOME).accounts["home"].allow_users.is_empty());
}

#[test]
fn a_user_that_cannot_be_is_refused() {
    for user in ["-1", "4294967295", "\"4294967296\"", "\"\"", "\"alice,bob\"", "\" alice\"", "1.5", "true"] {
        let message = refusal(&format!("{HOME}allow-users = [\n  \"alice\",\n  {user},\n]"));
        assert_eq!(
            message,
            format!(
                "config.toml:5: accounts.home.allow-users: found {user}; wanted a name, or a number below 4294967295"
            )
        );
    }
    assert_refused(
        &[&format!("{HOME}allow-groups = \"hvac\"")],
        "accounts.home.allow-groups: found \"hvac\"; wanted a list of names or numbers, such as [\"alice\", 1000]",
    );
}

#[test]
fn an_empty_list_is_refused_because_it_could_mean_nobody_and_everybody() {
    assert_refused(
        &[&format!("{HOME}allow-users = []")],
        "config.toml:3: accounts.home.allow-users: found an empty list; \
         wanted at least one name or number; without the key, whoever may connect",
    );
}
