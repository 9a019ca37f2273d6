//! Certificates of a private authority, and files of them as Kubernetes mounts them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};

/// An authority.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Some clients take a certificate for self-signed if its issuer has the same name, so the authority has its own name.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Issues the certificate of a sidecar on this machine.
    pub(super) fn server(&self) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// Issues the certificate of a client with this DNS name.
    pub(super) fn client(&self, name: &str) -> Pair {
        self.issue(client(vec![SanType::DnsName(name.try_into().unwrap())]))
    }

    /// Issues the certificate of a client with this URI.
    pub(super) fn client_of_uri(&self, uri: &str) -> Pair {
        self.issue(client(vec![SanType::URI(uri.try_into().unwrap())]))
    }

    /// Issues the certificate of a client that has only a common name.
    pub(super) fn client_of_common_name(&self, name: &str) -> Pair {
        let mut params = client(vec![]);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(params)
    }

    /// Issues the certificate of a client, valid from 1 January of `first_year` to 1 January of `last_year`.
    pub(super) fn client_between(&self, first_year: i32, last_year: i32) -> Pair {
        let mut params = client(vec![SanType::DnsName("late.example".try_into().unwrap())]);
        (params.not_before, params.not_after) = (date_time_ymd(first_year, 1, 1), date_time_ymd(last_year, 1, 1));
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

fn client(names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A directory whose files all change at once, as in Kubernetes: each file is a link through `..data`, which is a link to the
/// directory of one version.
pub(super) struct Mount {
    directory: PathBuf,
    version: u32,
}

impl Mount {
    pub(super) fn new(directory: &Path, files: &[(&str, &str)]) -> Self {
        let directory = directory.join("mount");
        fs::create_dir(&directory).unwrap();
        let mut mount = Self { directory, version: 0 };
        mount.swap(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mount.directory.join(name)).unwrap();
        }
        mount
    }

    /// Gives all files new contents at once.
    pub(super) fn swap(&mut self, files: &[(&str, &str)]) {
        self.version += 1;
        let version = format!("..version{}", self.version);
        fs::create_dir(self.directory.join(&version)).unwrap();
        for (name, contents) in files {
            fs::write(self.directory.join(&version).join(name), contents).unwrap();
        }
        let next = self.directory.join("..next");
        symlink(&version, &next).unwrap();
        fs::rename(next, self.directory.join("..data")).unwrap();
    }

    /// Returns the path of a file.
    pub(super) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}
