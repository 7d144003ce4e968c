//! Addresses of listeners: `off`, or a host and a port.

/// Checks that `text` can be an address. Whether the machine has it, only listening tells.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text == "off" || is_host_and_port(text) {
        return Ok(());
    }
    Err(format!("`{text}` is no address; expected HOST:PORT, as 127.0.0.1:5672, or off"))
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    !host.is_empty() && !bare_v6 && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for right in ["off", "127.0.0.1:0", "localhost:5672", "[::1]:5672"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in ["", "5672", ":5672", "localhost", "::1:5672", "127.0.0.1:70000"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
