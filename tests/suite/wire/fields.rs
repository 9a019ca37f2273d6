//! The tables name every field of every request of the contract.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Label};
use tollgate::proto::DESCRIPTORS;

use super::{account, quota, table::Table, usage};

/// The messages of the contract by full name.
struct Messages(BTreeMap<String, DescriptorProto>);

impl Messages {
    fn of(files: &FileDescriptorSet) -> Self {
        let files = files.file.iter().filter(|file| file.package() == "tollgate.v1");
        let messages = files.flat_map(|file| &file.message_type);
        Self(messages.map(|message| (format!(".tollgate.v1.{}", message.name()), message.clone())).collect())
    }

    /// Adds the fields of a message, named as in a violation, and those of its nested messages.
    fn add_fields(&self, message: &str, prefix: &str, fields: &mut BTreeSet<String>) {
        for field in &self.0[message].field {
            let path = format!("{prefix}{}", field.name());
            let of_each = if field.label() == Label::Repeated { "[]" } else { "" };
            // Maps and messages of google.protobuf count as one field each.
            if self.0.contains_key(field.type_name()) {
                self.add_fields(field.type_name(), &format!("{path}{of_each}."), fields);
            }
            fields.insert(path);
        }
    }
}

/// Returns every field of every request, with the path of its rpc.
fn fields_of_the_contract() -> BTreeSet<(String, String)> {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let messages = Messages::of(&files);
    let mut all = BTreeSet::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let mut fields = BTreeSet::new();
                messages.add_fields(method.input_type(), "", &mut fields);
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                all.extend(fields.into_iter().map(|field| (path.clone(), field)));
            }
        }
    }
    all
}

/// Returns the name of a field without list indexes.
fn without_places(field: &str) -> String {
    let parts = field.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
    parts.collect::<Vec<_>>().join("[]")
}

/// Every field of every request is in a table, or is declared to take any value.
#[test]
fn every_request_field_is_in_a_table() {
    let mut table = Table::default();
    quota::rows(&mut table);
    account::rows(&mut table);
    usage::rows(&mut table);
    let rows: BTreeSet<_> = table.rows.iter().map(|row| (row.path.to_owned(), without_places(row.field))).collect();
    let free: BTreeSet<_> =
        table.free.iter().map(|(path, field, _)| ((*path).to_owned(), (*field).to_owned())).collect();
    let contract = fields_of_the_contract();

    let missing: Vec<_> = contract.iter().filter(|field| !rows.contains(field) && !free.contains(field)).collect();
    assert!(missing.is_empty(), "no table has a row for {missing:#?}");
    let unknown: Vec<_> = rows.union(&free).filter(|field| !contract.contains(field)).collect();
    assert!(unknown.is_empty(), "the contract has no {unknown:#?}");
    let both: Vec<_> = rows.intersection(&free).collect();
    assert!(both.is_empty(), "there are rows for what may have any value: {both:#?}");
    let rpcs: BTreeSet<_> = table.honest.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert!(contract.iter().all(|(path, _)| rpcs.contains(path)), "an rpc has no valid request");
    assert!(table.free.iter().all(|(_, _, why)| !why.is_empty()));
}
