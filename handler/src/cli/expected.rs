//! Values that several commands take, read so that a refusal says what is expected.

use std::net::SocketAddr;

/// A text that is not what is expected. clap prints it behind the text and the name of its argument.
#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
pub(crate) struct Unexpected(&'static str);

/// Reads the address of `--listen`: an IP address and a port; a host name is refused.
pub(super) fn address(text: &str) -> Result<SocketAddr, Unexpected> {
    let expected = "an IP address and a port, such as 127.0.0.1:7072; port 0 takes any free one";
    text.parse().map_err(|_| Unexpected(expected))
}

/// A command for a shell.
pub(super) fn shell_command(text: &str) -> Result<String, Unexpected> {
    if text.trim().is_empty() {
        return Err(Unexpected("a command for a shell; leave the option out for the demonstration scorer"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_taken_and_of_the_rest_it_is_said() {
        assert_eq!(address("[::1]:0").unwrap().port(), 0);
        assert_eq!(shell_command("python3 score.py").unwrap(), "python3 score.py");
        for refused in [address("foo").unwrap_err(), address("127.0.0.1").unwrap_err()] {
            assert!(refused.to_string().starts_with("expected an IP address and a port"), "{refused}");
        }
        assert!(shell_command("").is_err() && shell_command(" \n").is_err());
    }
}
