//! The names of a client in its certificate. The TLS handshake has already verified the certificate.

use std::fmt;

use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Maximum length of a name. Longer ones are ignored, because a name stands in every entry of the audit log.
const MAX_NAME_BYTES: usize = 255;

/// Maximum number of names that count, because each of them is looked up.
const MAX_NAMES: usize = 64;

/// A name of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientName {
    /// A DNS name, which is case-insensitive.
    Dns(String),
    /// A URI, or the common name of the subject. It is case-sensitive.
    Other(String),
}

impl ClientName {
    /// Returns whether this name is the one that `[clients]` lists as `client`.
    pub(super) fn matches(&self, client: &str) -> bool {
        match self {
            Self::Dns(name) => name.eq_ignore_ascii_case(client),
            Self::Other(name) => name == client,
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dns(name) | Self::Other(name)) = self;
        formatter.write_str(name)
    }
}

/// Returns the names in a certificate: the DNS names and URIs of its subjectAltName, in their order. If it has none of them, the
/// common name of its subject, if there is exactly one.
pub(super) fn names(certificate: &[u8]) -> Vec<ClientName> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(alternative) = certificate.subject_alternative_name() else { return Vec::new() };
    let general = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let mut has_alternatives = false;
    let mut names = Vec::new();
    for name in general {
        let name = match name {
            GeneralName::DNSName(name) => ClientName::Dns((*name).to_owned()),
            GeneralName::URI(uri) => ClientName::Other((*uri).to_owned()),
            _ => continue,
        };
        has_alternatives = true;
        names.push(name);
    }
    if !has_alternatives {
        let mut common = certificate.subject().iter_common_name().map(|name| name.as_str().ok());
        if let (Some(Some(name)), None) = (common.next(), common.next()) {
            names.push(ClientName::Other(name.to_owned()));
        }
    }
    names.retain(|name| is_readable(&name.to_string()));
    names.truncate(MAX_NAMES);
    names
}

/// Returns whether a name fits on a line of a log and is printable ASCII, so that a reader can tell it from others.
fn is_readable(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn named(alternatives: Vec<SanType>, common: &[&str]) -> Vec<String> {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternatives;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        names(certificate.der()).iter().map(ClientName::to_string).collect()
    }

    #[test]
    fn the_common_name_counts_only_without_alternative_names() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
        let ip = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(named(vec![uri("spiffe://a/b"), dns("c.d")], &["common"]), ["spiffe://a/b", "c.d"]);
        assert_eq!(named(vec![ip], &["common"]), ["common"]);
        assert_eq!(named(vec![], &["common"]), ["common"]);
        assert_eq!(named(vec![], &[]), [""; 0]);
        assert_eq!(named(vec![], &["a\nb"]), [""; 0]);
        assert_eq!(named(vec![uri(&format!("x:{}", "y".repeat(MAX_NAME_BYTES)))], &["common"]), [""; 0]);
        assert_eq!(named((0..100).map(|number| dns(&format!("h{number}"))).collect(), &[]).len(), MAX_NAMES);
        assert_eq!(names(b"no certificate"), []);
    }
}
