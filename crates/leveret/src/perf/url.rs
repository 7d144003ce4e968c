//! URLs of brokers: `amqp://user:password@host:port/vhost`, every part but the host optional
//! (<https://www.rabbitmq.com/docs/uri-spec>).

use percent_encoding::percent_decode_str;

const PORT: u16 = 5672;

/// Where a broker is, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("amqps://") {
            return Err("amqps:// is not supported here: the test speaks plain AMQP".into());
        }
        let rest = text.strip_prefix("amqp://").ok_or("it does not start with amqp://")?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = host_and_port(address)?;
        Ok(Self {
            host,
            port,
            user: if login.is_empty() { "guest".into() } else { decoded(user)? },
            password: if login.is_empty() { "guest".into() } else { decoded(password)? },
            vhost: if vhost.is_empty() { "/".into() } else { decoded(vhost)? },
        })
    }
}

fn host_and_port(address: &str) -> Result<(String, u16), String> {
    // The colons within an IPv6 address stand in brackets.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is no port"))?)
        }
        _ => (address, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err("it names no host".into()) } else { Ok((host.into(), port)) }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| format!("`{text}` is not UTF-8"))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String, String, String) {
        let url = Url::parse(text).unwrap();
        (url.host, url.port, url.user, url.password, url.vhost)
    }

    #[test]
    fn parts_have_defaults() {
        let guest =
            |host: &str, port, vhost: &str| (host.into(), port, "guest".into(), "guest".into(), vhost.into());
        assert_eq!(parts("amqp://localhost"), guest("localhost", 5672, "/"));
        assert_eq!(parts("amqp://[::1]:1234/%2F"), guest("::1", 1234, "/"));
        assert_eq!(parts("amqp://[::1]/a%20b?heartbeat=5"), guest("::1", 5672, "a b"));
        let login = ("h".into(), 1, "a@b".into(), "p:w".into(), "v".into());
        assert_eq!(parts("amqp://a%40b:p%3Aw@h:1/v"), login);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["localhost", "amqps://localhost", "amqp://", "amqp://h:port", "amqp://%ff:x@h"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
