//! HTTP clients that we did not write get their token: curl, Python's `http.client`, Node's `http`.

mod harness;

use std::process::Command;
use std::time::Duration;

use harness::Stage;

const PYTHON: &str = "
import http.client, socket, sys

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost')
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

connection = UnixConnection(sys.argv[1])
connection.request('GET', '/token')
print(connection.getresponse().read().decode().strip())
";

const NODE: &str = "
require('http').get({ socketPath: process.argv[1], path: '/token' }, (answer) => {
  answer.setEncoding('utf8').on('data', (token) => console.log(token.trim()));
});
";

#[test]
fn curl_python_and_node_each_get_the_token() {
    let stage = Stage::with_lifetime(Duration::from_secs(3600));
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let socket = daemon.socket.display().to_string();
    let clients: [(&str, Vec<&str>); 4] = [
        ("curl", vec!["--silent", "--fail", "--unix-socket", &socket, "http://localhost/token"]),
        ("curl", vec!["--silent", "--fail", "--unix-socket", &socket, "http://localhost/header"]),
        ("python3", vec!["-c", PYTHON, &socket]),
        ("node", vec!["-e", NODE, &socket]),
    ];
    for (program, arguments) in clients {
        let output = match Command::new(program).args(&arguments).output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("SKIPPED: {program} is not installed here");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = if arguments.concat().ends_with("header") {
            format!("Authorization: Bearer {token}")
        } else {
            token.clone()
        };
        assert_eq!(said.trim(), wanted, "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
