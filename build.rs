//! Generates Rust code from proto/. The compiler is protox, written in Rust, so that protoc does not need to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTO_FILES: [&str; 3] =
    ["tollgate/v1/quota_service.proto", "tollgate/v1/account_service.proto", "tollgate/v1/usage_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTO_FILES, ["proto"])?;
    let descriptor_file = PathBuf::from(env::var("OUT_DIR")?).join("tollgate_descriptor.bin");
    fs::write(descriptor_file, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
