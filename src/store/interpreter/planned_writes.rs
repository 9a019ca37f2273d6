//! What an option makes of the records: worked out whole, then written, then read for the reply.

use super::{
    super::error::StoreError,
    records::{PackedRecord, Records},
    snapshot::{EvaluationError, RecordBefore, Snapshot, parse, purge_time},
};
use crate::transaction::{FieldMap, Outcome, Read, Record, RecordKind, RecordRef, Write};

/// A packed record is no longer than this, more often than not.
const PACKED_BYTES: usize = 256;

/// The records after the step.
pub(super) struct PlannedWrites<'w> {
    after: Vec<RecordAfter>,
    lists: Vec<ListWrite<'w>>,
}

/// A hash or a packed record after the step.
#[derive(Default)]
struct RecordAfter {
    /// Whether it is written; if not, it is as before, and the rest says nothing.
    changed: bool,
    /// A hash that is left in the end.
    fields: Option<FieldMap>,
    /// A packed record that is left in the end.
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
    /// To leave everything as it is.
    pub(super) fn nothing(snapshot: &Snapshot<'_>) -> Self {
        Self { after: snapshot.before.iter().map(|_| RecordAfter::default()).collect(), lists: Vec::new() }
    }

    /// To carry out these writes, of which there is at least one.
    pub(super) fn of(snapshot: &Snapshot<'_>, writes: &'w [Write]) -> Result<Self, EvaluationError> {
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
        // Only what the additions come to has to be in range, not what they pass through.
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
        snapshot: &Snapshot<'_>,
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
                let mut value = String::with_capacity(PACKED_BYTES);
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

    /// A hash as the writes so far leave it, to be changed.
    fn fields(&mut self, snapshot: &Snapshot<'_>, record: RecordRef) -> &mut Option<FieldMap> {
        let after = &mut self.after[record.0];
        if !after.changed {
            after.changed = true;
            after.fields.clone_from(&snapshot.before[record.0].fields);
        }
        &mut after.fields
    }

    /// Adds to a field. While this step adds to it, it may be out of range; what it comes to is checked in the end.
    fn add(
        &mut self,
        snapshot: &Snapshot<'_>,
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

    /// Writes what is planned; whether that was anything.
    pub(super) fn execute(&self, snapshot: &Snapshot<'_>, records: &mut impl Records) -> Result<bool, StoreError> {
        let mut wrote = false;
        for (place, after) in self.after.iter().enumerate() {
            let key = &snapshot.uses[place].key;
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
            let old = snapshot.before[place].purge_at;
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

    /// The records for the reply, once the plan is carried out.
    pub(super) fn read(
        self,
        mut snapshot: Snapshot<'_>,
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
    /// The whole record, if it exists.
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
