//! What it takes to call a listener that does not let in everybody: whom to trust, a certificate to show, a token to bring.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use thiserror::Error;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Identity},
};

use super::SidecarAddress;

/// What it takes to call a listener, as the command line names it.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityArguments {
    /// Speaks TLS, and trusts the authorities in this file, in PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS and token")]
    pub tls_ca: Option<PathBuf>,
    /// Shows the certificate in this file, in PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"], help_heading = "TLS and token")]
    pub tls_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate", help_heading = "TLS and token")]
    pub tls_key: Option<PathBuf>,
    /// The name that the sidecar's certificate is for, where that is not the host of its address
    #[arg(long, value_name = "NAME", requires = "tls_ca", help_heading = "TLS and token")]
    pub tls_name: Option<String>,
    /// Brings the token in this file to the admin listener
    #[arg(long, value_name = "FILE", help_heading = "TLS and token")]
    pub token_file: Option<PathBuf>,
}

/// What it takes to call a listener.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<ClientTlsConfig>,
    token: Option<MetadataValue<Ascii>>,
}

/// Why a listener cannot be called as it was said.
#[derive(Debug, Error)]
pub enum SecurityError {
    /// A file cannot be read.
    #[error("the file {}, which {option} names, cannot be read: {source}", file.display())]
    Unreadable {
        /// Which option, or setting.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the token has none.
    #[error("the file {} has no token: it should hold one word", .0.display())]
    NoToken(PathBuf),
    /// There is nobody to trust.
    #[error("{0} speaks TLS: name the authorities to trust with --tls-ca")]
    NoAuthority(SidecarAddress),
    /// A token would be seen on its way.
    #[error("a token is not sent to {0} without TLS: name the authorities to trust with --tls-ca")]
    TokenInTheOpen(SidecarAddress),
}

impl SecurityArguments {
    /// Reads the files that are named. Without a file for the token, it is in `token_file`, if that is one.
    ///
    /// # Errors
    /// If one of them cannot be read, or has no token.
    pub fn read(&self, token_file: Option<&Path>) -> Result<Security, SecurityError> {
        let tls = match &self.tls_ca {
            None => None,
            Some(authorities) => Some(self.tls(read("--tls-ca", authorities)?)?),
        };
        let (option, file) = match &self.token_file {
            Some(file) => ("--token-file", Some(file.as_path())),
            None => ("admin_token_file", token_file),
        };
        let token = match file {
            None => None,
            Some(file) => Some(token(&read(option, file)?).ok_or_else(|| SecurityError::NoToken(file.to_owned()))?),
        };
        Ok(Security { tls, token })
    }

    fn tls(&self, authorities: Vec<u8>) -> Result<ClientTlsConfig, SecurityError> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            let (certificate, key) = (read("--tls-certificate", certificate)?, read("--tls-key", key)?);
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Ok(match &self.tls_name {
            Some(name) => tls.domain_name(name.clone()),
            None => tls,
        })
    }
}

impl Security {
    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn tls(&self) -> Option<&ClientTlsConfig> {
        self.tls.as_ref()
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn sign<T>(&self, request: &mut Request<T>) {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn of_tests(tls: bool, has_token: bool) -> Self {
        Self { tls: tls.then(ClientTlsConfig::new), token: has_token.then(|| token(b"word").unwrap()) }
    }
}

/// What it holds is for the listener only.
impl fmt::Debug for Security {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, token) = (self.has_tls(), self.has_token());
        formatter.debug_struct("Security").field("tls", &tls).field("token", &token).finish()
    }
}

fn read(option: &'static str, file: &Path) -> Result<Vec<u8>, SecurityError> {
    fs::read(file).map_err(|source| SecurityError::Unreadable { option, file: file.to_owned(), source })
}

fn token(contents: &[u8]) -> Option<MetadataValue<Ascii>> {
    let token = contents.trim_ascii();
    let is_word = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", str::from_utf8(token).ok()?).parse().ok()?;
    value.set_sensitive(true);
    is_word.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        assert_eq!(token(b" word\n").unwrap(), "Bearer word");
        for contents in [&b""[..], b"\n", b"two words", b"\xff"] {
            assert!(token(contents).is_none(), "{contents:?}");
        }
        assert!(!format!("{:?}", Security::of_tests(true, true)).contains("word"));
    }
}
