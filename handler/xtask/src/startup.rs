//! Does the packaged executable start? A missing library or a wrong processor shows only then.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result, cannot};

/// A start takes milliseconds; whatever takes this long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Runs `program --version` from a fresh folder in `place` and returns its first line. `place` must allow execution,
/// which a system's folder for temporary files may not. Kills what takes longer than `limit`.
pub(crate) fn version(program: &[u8], place: &Path, limit: Duration) -> Result<String> {
    fs::create_dir_all(place).map_err(cannot("create", place))?;
    let folder = tempfile::tempdir_in(place).map_err(cannot("create a folder in", place))?;
    let path = folder.path().join("program");
    fs::write(&path, program).map_err(cannot("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(cannot("set the mode of", &path))?;

    let started = Instant::now();
    let mut command = Command::new(&path);
    // Nothing of ours may help it to start: on the platform it is alone.
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = loop {
        match command.spawn() {
            // Another thread's child that has not executed its own program yet still holds our file open for writing.
            Err(cause) if cause.kind() == io::ErrorKind::ExecutableFileBusy && started.elapsed() < limit => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(cause) => return Err(Failure::new(format!("the executable does not start: {cause}"))),
            Ok(child) => break child,
        }
    };
    let status = loop {
        match child.try_wait().map_err(cannot("wait for", &path))? {
            Some(status) => break status,
            None if started.elapsed() < limit => thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::new(format!("the executable still runs {limit:?} after `--version`")));
            }
        }
    };
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // A line is all we look for; more than the pipe holds would have kept it from ending anyway.
        stdout.take(4096).read_to_end(&mut said).map_err(cannot("read the output of", &path))?;
    }
    if !status.success() {
        return Err(Failure::new(format!("the executable's `--version` ended with {status}")));
    }
    match String::from_utf8_lossy(&said).lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new("the executable's `--version` says nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_executable_that_tells_its_version_and_ends_well_starts() {
        let place = tempfile::tempdir().unwrap();
        let within = |limit, script: &str| {
            version(script.as_bytes(), place.path(), limit).map_err(|failure| failure.to_string())
        };
        let started = |script: &str| within(LIMIT, script);
        assert_eq!(started("#!/bin/sh\n[ \"$1\" = --version ] && echo 'made up 1.2'\n"), Ok("made up 1.2".to_owned()));
        assert!(started("#!/bin/sh\necho 'made up 1.2'; exit 3\n").unwrap_err().contains("exit status: 3"));
        assert!(started("#!/bin/sh\n").unwrap_err().contains("says nothing"));
        assert!(started("#!/no/such/loader\n").unwrap_err().contains("does not start"));
        let hangs = within(Duration::from_millis(100), "#!/bin/sh\nexec sleep 600\n");
        assert!(hangs.unwrap_err().contains("still runs 100ms"));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
