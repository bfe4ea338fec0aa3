//! What nobody may see.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{AMPLE, ENCODED, Ecobee, KEY, TOKEN, authorize, client, json, poll, refresh};

#[tokio::test]
async fn no_outcome_and_no_log_line_shows_a_secret() {
    let secrets = [KEY, TOKEN, ENCODED, "new-access", "new-refresh", "og2O", "%26o%25"];
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    // For all threads: a subscriber of one thread alone may find the log lines switched off by the others.
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    let body = r#"{"access_token":"new-access","refresh_token":"new-refresh"}"#;
    let mut answers: Vec<Vec<u8>> = vec![
        json("200 OK", body).into(),
        json("200 OK", &body.replace("new-access", "new access")).into(),
        json("500 X", body).into(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}", &body[..40]).into(),
        format!("HTTP/1.1 302 X\r\nLocation: /?{ENCODED}\r\nContent-Length: 0\r\n\r\n").into(),
        format!("HTTP/1.1 200 {ENCODED}\r\nContent-Length: 0\r\n\r\n").into(),
        format!("{ENCODED}\r\n\r\n").into(),
        Vec::new(),
    ];
    for error in ["invalid_grant", "invalid_client", "invalid_scope", "unknown", ENCODED] {
        let description =
            format!("{TOKEN} / {ENCODED} / {} / {KEY} is bad", ENCODED.replace("%C3%A9", "%c3%a9"));
        answers.push(
            json("400 X", &format!(r#"{{"error":"{error}","error_description":"{description}"}}"#)).into(),
        );
        answers
            .push(json("500 X", &format!(r#"{{"status":{{"message":"{TOKEN} {ENCODED} {KEY}"}}}}"#)).into());
    }
    for answer in answers {
        let client = Ecobee::says(answer).client();
        for outcome in [poll(&client).await, refresh(&client).await] {
            let shown = format!("{outcome:?}");
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        let shown = format!("{:?}", authorize(&client).await);
        assert!(!shown.contains(KEY), "{shown}");
    }
    let nobody = client("http://127.0.0.1:1", AMPLE);
    let shown = format!("{:?}", refresh(&nobody).await);
    let logged = log.text();
    assert!(logged.contains("answered") && logged.contains("refresh"), "{logged}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!logged.contains(secret), "{secret} in {logged}");
    }
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
