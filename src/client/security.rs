//! The credentials of a client: the authorities that it trusts, its certificate, and its token.

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

/// The command-line options for TLS and the token.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityArguments {
    /// Use TLS, and trust the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE", help_heading = "TLS and token")]
    pub tls_ca: Option<PathBuf>,
    /// Client certificate to present, as a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"], help_heading = "TLS and token")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the client certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate", help_heading = "TLS and token")]
    pub tls_key: Option<PathBuf>,
    /// Name to expect in the sidecar's certificate, if it is not the host of the address
    #[arg(long, value_name = "NAME", requires = "tls_ca", help_heading = "TLS and token")]
    pub tls_name: Option<String>,
    /// File that holds the token for the admin listener
    #[arg(long, value_name = "FILE", help_heading = "TLS and token")]
    pub token_file: Option<PathBuf>,
}

/// The credentials, read from the files that the options name.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<ClientTlsConfig>,
    token: Option<MetadataValue<Ascii>>,
}

/// Why a listener cannot be called with the given options.
#[derive(Debug, Error)]
pub enum SecurityError {
    /// A file cannot be read.
    #[error("cannot read the file {} of {option}: {source}", file.display())]
    Unreadable {
        /// The option or setting that names the file.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The token file does not hold exactly one word.
    #[error("the token file {} must hold exactly one word", .0.display())]
    NoToken(PathBuf),
    /// The address requires TLS, but no trusted authorities are given.
    #[error("{0} uses TLS; name the trusted certificate authorities with --tls-ca")]
    NoAuthority(SidecarAddress),
    /// The token would cross the network without encryption.
    #[error("a token is sent to another machine over TLS only; name the certificate authorities of {0} with --tls-ca")]
    TokenWithoutTls(SidecarAddress),
}

impl SecurityArguments {
    /// Reads the files that the options name. Without `--token-file`, the token is read from `token_file`, if given.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or if the token file does not hold exactly one word.
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
    pub(super) fn for_tests(tls: bool, has_token: bool) -> Self {
        Self { tls: tls.then(ClientTlsConfig::new), token: has_token.then(|| token(b"word").unwrap()) }
    }
}

/// Does not show the token or the key.
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
    fn a_token_is_one_word_and_is_never_printed() {
        assert_eq!(token(b" word\n").unwrap(), "Bearer word");
        for contents in [&b""[..], b"\n", b"two words", b"\xff"] {
            assert!(token(contents).is_none(), "{contents:?}");
        }
        assert!(!format!("{:?}", Security::for_tests(true, true)).contains("word"));
    }
}
