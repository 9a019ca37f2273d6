//! The writes of an option: first all of them are planned, then written, then the records are read for the reply.

use super::{
    super::error::StoreError,
    records::{PackedRecord, Records},
    snapshot::{EvaluationError, RecordBefore, RecordSnapshot, parse, purge_time},
};
use crate::transaction::{FieldMap, Outcome, Read, Record, RecordKind, RecordRef, Write};

/// Typical length of a packed record, in bytes. It is the initial capacity.
const TYPICAL_PACKED_BYTES: usize = 256;

/// The records after the writes.
pub(super) struct PlannedWrites<'w> {
    after: Vec<RecordAfter>,
    lists: Vec<ListWrite<'w>>,
}

/// A hash or a packed record after the writes.
#[derive(Default)]
struct RecordAfter {
    /// Whether it is written. If not, it stays as it was, and the other fields have no meaning.
    changed: bool,
    /// The fields of a hash; `None` if it is absent.
    fields: Option<FieldMap>,
    /// The packed record; `None` if it is absent.
    packed: Option<PackedRecord>,
}

/// A change of an index or a log.
enum ListWrite<'w> {
    IndexPut { index: RecordRef, member: &'w str, score: i64 },
    IndexRemove { index: RecordRef, member: &'w str },
    Append { log: RecordRef, fields: FieldMap, keep: Option<u32> },
    Clear { log: RecordRef },
}

impl<'w> PlannedWrites<'w> {
    /// Plans no writes.
    pub(super) fn nothing(snapshot: &RecordSnapshot<'_>) -> Self {
        Self { after: snapshot.before.iter().map(|_| RecordAfter::default()).collect(), lists: Vec::new() }
    }

    /// Plans these writes. There must be at least one.
    pub(super) fn new(snapshot: &RecordSnapshot<'_>, writes: &'w [Write]) -> Result<Self, EvaluationError> {
        let mut plan = Self::nothing(snapshot);
        for (before, after) in snapshot.before.iter().zip(&mut plan.after) {
            if !before.present && before.fields.is_some() {
                *after = RecordAfter { changed: true, fields: before.fields.clone(), packed: None };
            }
        }
        let mut sums = Vec::new();
        for write in writes {
            plan.add_write(snapshot, write, &mut sums)?;
        }
        // Only the result of several additions to a field has to be in range, not each intermediate sum.
        for (record, field) in sums {
            if let Some(text) = plan.after[record].fields.as_ref().and_then(|fields| fields.text(field)) {
                parse(text)?;
            }
        }
        for fields in plan.after.iter().filter_map(|after| after.fields.as_ref()) {
            purge_time(fields)?;
        }
        Ok(plan)
    }

    fn add_write(
        &mut self,
        snapshot: &RecordSnapshot<'_>,
        write: &'w Write,
        sums: &mut Vec<(usize, &'w str)>,
    ) -> Result<(), EvaluationError> {
        match write {
            Write::Add(record, field, number) => {
                self.add(snapshot, *record, field, *number, sums)?;
            }
            Write::AddIfPresent(record, field, number) => {
                let after = &self.after[record.0];
                let fields = if after.changed { &after.fields } else { &snapshot.before[record.0].fields };
                if fields.is_some() {
                    self.add(snapshot, *record, field, *number, sums)?;
                }
            }
            Write::Set(record, field, value) => {
                let text = snapshot.text(value)?;
                self.fields(snapshot, *record).get_or_insert_default().set(field, &text);
            }
            Write::Put(record, parts, purge_at) => {
                let mut value = String::with_capacity(TYPICAL_PACKED_BYTES);
                parts.iter().try_for_each(|part| snapshot.write_text(part, &mut value))?;
                let purge_at = purge_at.as_ref().map(|purge_at| snapshot.number(purge_at)).transpose()?;
                let packed = Some(PackedRecord { value, purge_at });
                self.after[record.0] = RecordAfter { changed: true, fields: None, packed };
            }
            Write::Delete(log) if snapshot.uses[log.0].key.kind == RecordKind::Log => {
                self.lists.push(ListWrite::Clear { log: *log });
            }
            Write::Delete(record) => {
                self.after[record.0] = RecordAfter { changed: true, fields: None, packed: None };
            }
            Write::IndexPut(index, member, score) => {
                let score = snapshot.number(score)?;
                self.lists.push(ListWrite::IndexPut { index: *index, member, score });
            }
            Write::IndexRemove(index, member) => {
                self.lists.push(ListWrite::IndexRemove { index: *index, member });
            }
            Write::Append { log, fields, keep } => {
                let fields = fields.iter().map(|(field, value)| Ok((*field, snapshot.text(value)?))).collect::<Result<
                    _,
                    EvaluationError,
                >>(
                )?;
                self.lists.push(ListWrite::Append { log: *log, fields, keep: *keep });
            }
        }
        Ok(())
    }

    /// Returns a hash as the planned writes leave it, to be changed.
    fn fields(&mut self, snapshot: &RecordSnapshot<'_>, record: RecordRef) -> &mut Option<FieldMap> {
        let after = &mut self.after[record.0];
        if !after.changed {
            after.changed = true;
            after.fields.clone_from(&snapshot.before[record.0].fields);
        }
        &mut after.fields
    }

    /// Adds to a field. The sum may be out of range until all writes are planned; it is checked then.
    fn add(
        &mut self,
        snapshot: &RecordSnapshot<'_>,
        record: RecordRef,
        field: &'w str,
        number: i64,
        sums: &mut Vec<(usize, &'w str)>,
    ) -> Result<(), EvaluationError> {
        let fields = self.fields(snapshot, record).as_mut().ok_or(EvaluationError::Missing)?;
        let text = fields.text(field).ok_or(EvaluationError::Missing)?;
        let before = match text.parse() {
            Ok(number) if sums.contains(&(record.0, field)) => number,
            _ => parse(text)?,
        };
        let sum = i64::checked_add(before, number).ok_or_else(|| StoreError::fault("a number is out of range"))?;
        fields.set(field, &sum.to_string());
        sums.push((record.0, field));
        Ok(())
    }

    /// Writes the plan. Returns whether it wrote anything.
    pub(super) fn apply(&self, snapshot: &RecordSnapshot<'_>, records: &mut impl Records) -> Result<bool, StoreError> {
        let mut wrote = false;
        for (position, after) in self.after.iter().enumerate() {
            let key = &snapshot.uses[position].key;
            if !after.changed {
                continue;
            }
            let purge_at = if key.kind == RecordKind::Hash {
                records.write_hash(&key.name, after.fields.as_ref())?;
                after.fields.as_ref().map(purge_time).transpose()?.flatten()
            } else {
                records.write_packed(&key.name, after.packed.as_ref())?;
                after.packed.as_ref().and_then(|packed| packed.purge_at)
            };
            let old = snapshot.before[position].purge_at;
            if old != purge_at {
                records.move_purge(key, old, purge_at)?;
            }
            wrote = true;
        }
        for list in &self.lists {
            match list {
                ListWrite::IndexPut { index, member, score } => {
                    records.index_put(&snapshot.uses[index.0].key.name, member, *score)?;
                }
                ListWrite::IndexRemove { index, member } => {
                    records.index_remove(&snapshot.uses[index.0].key.name, member)?;
                }
                ListWrite::Append { log, fields, keep } => {
                    records.append(&snapshot.uses[log.0].key.name, fields, *keep)?;
                }
                ListWrite::Clear { log } => records.clear_log(&snapshot.uses[log.0].key.name)?,
            }
            wrote = true;
        }
        Ok(wrote)
    }

    /// Reads the records for the reply, after the plan was written.
    pub(super) fn read(
        self,
        mut snapshot: RecordSnapshot<'_>,
        records: &impl Records,
        outcome: Outcome,
    ) -> Result<Vec<Record>, StoreError> {
        let applied = matches!(outcome, Outcome::Applied { .. });
        let mut read = Vec::with_capacity(snapshot.uses.len());
        let now_ms = snapshot.now_ms;
        for ((used, before), after) in snapshot.uses.iter().zip(&mut snapshot.before).zip(self.after) {
            let name = &used.key.name;
            read.push(match &used.read {
                Read::Nothing => Record::NotRead,
                Read::First { unless_applied: true, .. } if applied => Record::NotRead,
                Read::First { limit, .. } => Record::Index(records.index_first(name, *limit)?),
                Read::MembersAfter { member, limit } => Record::Index(records.index_after(name, member, *limit)?),
                Read::EntriesAfter { cursor, limit } => Record::Log(records.log_after(name, cursor, *limit)?),
                Read::Whole => after.whole(std::mem::take(before), now_ms)?,
            });
        }
        Ok(read)
    }
}

impl RecordAfter {
    /// Returns the record for the reply.
    fn whole(self, before: RecordBefore, now_ms: i64) -> Result<Record, StoreError> {
        let alive = |purge_at: Option<i64>| purge_at.is_none_or(|purge_at| purge_at > now_ms);
        let (fields, value) = if self.changed {
            (self.fields, self.packed.filter(|packed| alive(packed.purge_at)).map(|packed| packed.value))
        } else {
            (before.fields.filter(|_| before.present), before.value)
        };
        Ok(match (fields, value) {
            (Some(fields), _) if alive(purge_time(&fields)?) => Record::Hash(fields),
            (_, Some(value)) => Record::Packed(value),
            _ => Record::Absent,
        })
    }
}
