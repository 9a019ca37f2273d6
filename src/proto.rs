//! The contract, generated from proto/ by build.rs.

/// Package `tollgate.v1`.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, reason = "generated; the documentation is in proto/")]
pub mod v1 {
    tonic::include_proto!("tollgate.v1");
}

/// The encoded descriptors, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("tollgate_descriptor");
