//! What a client's certificate calls it. Whether the certificate is to be trusted was asked before.

use std::fmt;

use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// A longer name is no name: it would stand in every entry of the audit log.
const LONGEST: usize = 255;

/// So many names of a certificate count: each of them is looked for.
const MOST: usize = 64;

/// One name of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientName {
    /// A DNS name, in which small and capital letters are the same.
    Dns(String),
    /// A URI, or the common name of the subject.
    Other(String),
}

impl ClientName {
    /// Whether a client is called so.
    pub(super) fn is(&self, client: &str) -> bool {
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

/// The names in a certificate: the DNS names and URIs of its subjectAltName, as they stand there. If that has none of them, the
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
    names.retain(|name| is_a_name(&name.to_string()));
    names.truncate(MOST);
    names
}

/// Whether it can be shown on a line, and told from others by whoever reads it.
fn is_a_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
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
    fn alternative_names_count_and_the_common_name_only_where_there_are_none() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
        let ip = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(named(vec![uri("spiffe://a/b"), dns("c.d")], &["common"]), ["spiffe://a/b", "c.d"]);
        assert_eq!(named(vec![ip], &["common"]), ["common"]);
        assert_eq!(named(vec![], &["common"]), ["common"]);
        assert_eq!(named(vec![], &[]), [""; 0]);
        assert_eq!(named(vec![], &["a\nb"]), [""; 0]);
        assert_eq!(named(vec![uri(&format!("x:{}", "y".repeat(LONGEST)))], &["common"]), [""; 0]);
        assert_eq!(named((0..100).map(|number| dns(&format!("h{number}"))).collect(), &[]).len(), MOST);
        assert_eq!(names(b"no certificate"), []);
    }
}
