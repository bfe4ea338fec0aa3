//! The daemon for an example that runs it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the daemon with the cargo that runs this example, as fast or as small as the example itself, and with the same
/// features, so that no library is compiled twice; where it lies.
pub(crate) fn daemon() -> Result<PathBuf, Box<dyn Error>> {
    let cargo =
        std::env::var_os("CARGO").ok_or("the daemon is built first, so run this with cargo run --example")?;
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent).ok_or("this program is not where cargo puts it")?;
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bin", "ecobee-tokend", "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    build.arg("--example").args(this.file_stem());
    // What this cargo has set for the example means nothing to the next, but to libraries that are compiled anew for it.
    let ours = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            build.env_remove(name);
        }
    }
    if folder.ends_with("release") {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err("the daemon could not be built".into());
    }
    Ok(folder.join("ecobee-tokend"))
}
