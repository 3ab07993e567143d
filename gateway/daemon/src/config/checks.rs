//! Small checks of texts in a site file: addresses, URLs, topics, sizes, credit codes.

use std::net::{IpAddr, SocketAddr};

use super::site::Transport;

/// A URL, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `https`.
    pub(super) scheme: String,
    /// `center.example.org`.
    pub(super) host: String,
    /// If stated.
    pub(super) port: Option<u16>,
    /// From the first slash on.
    pub(super) path: String,
}

/// Splits a URL; `None` if it is not one. No user, query or fragment.
pub(super) fn url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains(['@', '?', '#']) || path.contains(['?', '#', ' ']) {
        return None;
    }
    let (host, port) = split_host(authority)?;
    Some(Url { scheme: scheme.to_owned(), host: host.to_owned(), port, path: path.to_owned() })
}

/// `host`, `host:port`, `[::1]:port`.
fn split_host(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        return host.parse::<IpAddr>().is_ok().then_some((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    is_host(host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    !host.is_empty() && host.len() <= 253 && host.split('.').all(label)
}

/// `host:port`, as a bus has it.
pub(super) fn is_address(text: &str) -> bool {
    split_host(text).is_some_and(|(_, port)| port.is_some_and(|port| port != 0))
}

/// What a bus of this transport may have as its address: `host:port`, or the path of a serial port.
pub(super) fn is_endpoint(transport: Transport, text: &str) -> bool {
    if transport.is_serial() {
        text.starts_with('/') && !text.ends_with('/') && !text.contains('\0')
    } else {
        is_address(text)
    }
}

/// Does it stay on this machine?
pub(super) fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Does it listen on this machine only?
pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// `None` if it is a topic filter, else what is wrong with it.
pub(super) fn topic_trouble(filter: &str) -> Option<&'static str> {
    let levels: Vec<_> = filter.split('/').collect();
    if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
        return Some("a topic has 1 to 65535 bytes");
    }
    for (n, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || n + 1 != levels.len()) {
            return Some("`#` stands alone at the end of a topic");
        }
        if level.contains('+') && *level != "+" {
            return Some("`+` stands alone between slashes");
        }
    }
    None
}

/// `1 GiB`, `64 MiB`, `512 KiB`, `1000`.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Is the check digit of a Unified Social Credit Code right (GB 32100-2015)? Some published codes fail it, so this
/// is worth a warning only.
pub(super) fn is_credit_code(text: &str) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let value = |byte: &u8| ALPHABET.iter().position(|known| known == byte);
    let Some(values) = text.as_bytes().iter().map(value).collect::<Option<Vec<_>>>() else { return false };
    let Some((check, body)) = values.split_last().filter(|(_, body)| body.len() == 17) else { return false };
    let mut weight = 1;
    let mut sum = 0;
    for value in body {
        sum += value * weight;
        weight = weight * 3 % 31;
    }
    (31 - sum % 31) % 31 == *check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_codes_have_a_check_digit() {
        for code in ["923301000000000193", "523300000000000192", "123300000000000196", "913300000000000191"] {
            assert!(is_credit_code(code), "{code}");
            let other = code.replace("33", "34");
            assert!(!is_credit_code(&other), "{other}");
        }
        assert!(!is_credit_code("hotel"));
        assert!(!is_credit_code(""));
    }

    #[test]
    fn urls_and_addresses() {
        let parsed = url("http://127.0.0.1:8080/base").unwrap();
        assert_eq!(
            (parsed.scheme.as_str(), parsed.host.as_str(), parsed.port, parsed.path.as_str()),
            ("http", "127.0.0.1", Some(8080), "/base")
        );
        assert_eq!(url("mqtt://[::1]:1883").unwrap().host, "::1");
        for text in [
            "",
            "example.org",
            "http://",
            "http://user@host",
            "http://a b",
            "http://host:99999",
            "http://h/?q",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
        assert!(is_address("127.0.0.1:502") && is_address("gw-1.local:502"));
        assert!(!is_address("127.0.0.1") && !is_address("host:0") && !is_address(":502"));
        assert!(is_loopback_host("::1") && is_loopback_host("localhost") && !is_loopback_host("10.0.0.1"));
    }

    #[test]
    fn topics_and_sizes() {
        for topic in ["a/b", "+/b/#", "#", "tele/温度/SENSOR"] {
            assert_eq!(topic_trouble(topic), None, "{topic}");
        }
        for topic in ["", "a/#/b", "a#", "a+/b"] {
            assert!(topic_trouble(topic).is_some(), "{topic}");
        }
        assert_eq!(size("1 GiB"), Some(1 << 30));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1 GB"), None);
        assert_eq!(size("99999999999 GiB"), None);
    }
}
